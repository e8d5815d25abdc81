-- Foreign keys that come to tables with rows, alone and with their columns. What is left is as before.
ALTER TABLE d ADD COLUMN r INT DEFAULT 2 REFERENCES g;
SELECT r, count(*) FROM d GROUP BY r;
-- @error 23503
UPDATE d SET r = 3 WHERE k = 4;
-- @error 23503
INSERT INTO d VALUES (100, 'x', 1, 9);
-- @error 23503
DELETE FROM g WHERE id = 2;
-- @error 23503
ALTER TABLE d ADD COLUMN s INT DEFAULT 77 REFERENCES g(id);
-- @error 23503
ALTER TABLE d ADD COLUMN s INT DEFAULT 77, ADD CONSTRAINT dsg FOREIGN KEY (s) REFERENCES g;
-- @error 42703
SELECT s FROM d;
ALTER TABLE d ADD COLUMN s INT, ADD COLUMN t INT DEFAULT 1, ADD CONSTRAINT dsg FOREIGN KEY (s) REFERENCES g, ADD FOREIGN KEY (t) REFERENCES g ON DELETE CASCADE;
SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'd'::regclass ORDER BY 1;
UPDATE d SET s = 1 WHERE k < 5;
-- @error 23503
UPDATE d SET s = 5 WHERE k < 5;
-- @error 23503
ALTER TABLE d ADD FOREIGN KEY (n) REFERENCES g;
ALTER TABLE d ADD CONSTRAINT later FOREIGN KEY (n) REFERENCES g NOT VALID;
SELECT convalidated FROM pg_constraint WHERE conname = 'later' AND conrelid = 'd'::regclass;
-- @error 23503
ALTER TABLE d VALIDATE CONSTRAINT later;
-- @error 23503
INSERT INTO d (k, n) VALUES (100, 9);
ALTER TABLE d DROP CONSTRAINT later;
ALTER TABLE d DROP COLUMN r, DROP COLUMN s, DROP COLUMN t;
-- Between tables of the same places.
-- @error 23503
ALTER TABLE d ADD FOREIGN KEY (k) REFERENCES f;
DELETE FROM d WHERE k > 20;
ALTER TABLE d ADD CONSTRAINT df FOREIGN KEY (k) REFERENCES f ON DELETE CASCADE;
-- @error 23503
INSERT INTO d (k) VALUES (21);
DELETE FROM f WHERE k IN (3, 4);
SELECT count(*), min(k), sum(k) FROM d;
ALTER TABLE d DROP CONSTRAINT df;
INSERT INTO f VALUES (3, 'f3'), (4, 'f4');
INSERT INTO d SELECT i, 'd' || i % 5, i FROM generate_series(1, 40) i WHERE i > 20 OR i IN (3, 4);
-- Of reference tables.
ALTER TABLE g ADD COLUMN up INT DEFAULT 1 REFERENCES g;
-- @error 23503
UPDATE g SET up = 7;
-- @error 23503
ALTER TABLE g ADD COLUMN down INT DEFAULT 7 REFERENCES g;
ALTER TABLE g DROP COLUMN up;
-- The same statement kept in a function, for a distributed table and then for one of this server.
CREATE FUNCTION key_to_g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE d ADD COLUMN IF NOT EXISTS r INT DEFAULT 1 REFERENCES g(id); END $$;
SELECT key_to_g();
ALTER TABLE d DROP COLUMN r;
ALTER TABLE d RENAME TO away;
CREATE TEMP TABLE d (k INT);
CREATE TEMP TABLE g (id INT PRIMARY KEY);
INSERT INTO d VALUES (1);
-- @error 23503
SELECT key_to_g();
DROP TABLE d, g;
ALTER TABLE away RENAME TO d;
DROP FUNCTION key_to_g;
