-- New tables of an application whose others are distributed already: keys to those and to reference tables.
CREATE TABLE one (t INT, id INT, a INT REFERENCES author, x INT, PRIMARY KEY (t, id), FOREIGN KEY (t, x) REFERENCES tenant);
CREATE TABLE two (t INT, id INT, a INT, x INT, PRIMARY KEY (t, id));
ALTER TABLE two ADD FOREIGN KEY (a) REFERENCES author DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE two ADD FOREIGN KEY (t, x) REFERENCES tenant DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE three (t INT, id INT, a INT, x INT, PRIMARY KEY (t, id));
ALTER TABLE three ADD FOREIGN KEY (t, x) REFERENCES tenant;
ALTER TABLE three ADD FOREIGN KEY (a) REFERENCES author, ADD COLUMN p INT REFERENCES publisher;
CREATE TABLE four (t INT, id INT, a INT REFERENCES author, p INT REFERENCES publisher, PRIMARY KEY (t, id));
ALTER TABLE four ADD COLUMN x INT, ADD FOREIGN KEY (t, x) REFERENCES tenant;
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('one'::regclass, 'two'::regclass, 'three'::regclass, 'four'::regclass) ORDER BY 1, 2;
SELECT count(*) FROM one, two, three, four;
DO $$ BEGIN IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN PERFORM create_distributed_table(n::regclass, 't', colocate_with => 'tenant') FROM unnest(ARRAY['one', 'two', 'three', 'four']) n; END IF; END $$;
INSERT INTO one VALUES (1, 1, 1, 1), (2, 1, 2, 2), (0, 1, NULL, 3);
-- @error 23503
INSERT INTO one VALUES (1, 2, 9, 1);
-- @error 23503
INSERT INTO one VALUES (1, 2, 1, 2);
INSERT INTO two VALUES (1, 1, 1, 1), (2, 1, 2, 2);
INSERT INTO three VALUES (1, 1, 1, 1, 1), (2, 1, 2, 2, NULL);
-- @error 23503
INSERT INTO three VALUES (1, 2, 1, 1, 9);
INSERT INTO four VALUES (1, 1, 1, 1, 1);
-- @error 23503
INSERT INTO four VALUES (1, 2, 1, 1, 2);
-- @error 23503
DELETE FROM tenant WHERE t = 1 AND id = 1;
-- @error 23503
DELETE FROM author WHERE id = 2;
SELECT one.id, tenant.id, author.name FROM one LEFT JOIN author ON author.id = one.a JOIN tenant ON tenant.t = one.t AND tenant.id = one.x ORDER BY 1, 2;
DROP TABLE one, two, three, four;
-- Deferred constraints, of a statement and of a block.
CREATE TABLE five (t INT, id INT, x INT, PRIMARY KEY (t, id), FOREIGN KEY (t, x) REFERENCES tenant DEFERRABLE INITIALLY DEFERRED);
DO $$ BEGIN IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN PERFORM create_distributed_table('five', 't', colocate_with => 'tenant'); END IF; END $$;
INSERT INTO five VALUES (1, 1, 1);
-- @known single a shard of the very node is named
-- @error 23503
INSERT INTO five VALUES (1, 2, 2);
-- @known single a shard of the very node is named
-- @error 23503
INSERT INTO five VALUES (1, 2, 2);
BEGIN;
INSERT INTO five VALUES (1, 2, 2);
-- @known single a shard of the very node is named
-- @error 23503
COMMIT;
DROP TABLE five;
