-- Statements that fail here after the node has done its part: nothing of it is left.
CREATE FUNCTION boom(i INT) RETURNS INT LANGUAGE plpgsql VOLATILE AS $$ BEGIN RAISE EXCEPTION 'boom %', i; END $$;
CREATE FUNCTION note(i INT) RETURNS INT LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO loc VALUES (i, 'noted'), (i, 'noted'); RETURN i; END $$;
ALTER TABLE loc ADD CONSTRAINT once UNIQUE (id) DEFERRABLE INITIALLY DEFERRED;
-- @error P0001
INSERT INTO x VALUES (500, 'a', 1) RETURNING boom(n);
-- @error P0001
UPDATE x SET n = 99 WHERE k = 3 RETURNING boom(n);
-- @error P0001
DELETE FROM x WHERE k = 4 RETURNING boom(n);
-- @error 42P01
INSERT INTO x VALUES (501, 'a', 1) RETURNING ('no_' || k)::regclass;
-- @error P0001
INSERT INTO x VALUES (3, 'a', 1) ON CONFLICT (k) DO UPDATE SET n = 77 RETURNING boom(x.n);
-- @error P0001
INSERT INTO x VALUES (502, 'a', 1), (502 + 0 * random()::int + 1, 'b', 2) RETURNING boom(n);
-- @error 23505
INSERT INTO x VALUES (504, 'a', 5) RETURNING note(n);
-- @error 22P02
UPDATE x SET n = 98 WHERE k = 5 RETURNING (v || random())::int;
INSERT INTO x VALUES (505, 'a', 6) RETURNING k, n, v;
SET client_encoding = latin1;
-- @error 22P05
INSERT INTO x VALUES (506, chr(8364), 1) RETURNING v;
-- @error 22P05
UPDATE x SET v = chr(8364) WHERE k = 505 RETURNING k, v;
RESET client_encoding;
SELECT k, v, n FROM x WHERE k > 400 OR k IN (3, 4, 5);
SELECT * FROM loc;
-- Settings under which texts look different.
SET array_nulls = off;
INSERT INTO x VALUES (1701, NULL, NULL), (1702, NULL, NULL), (1703, 'NULL', NULL);
SELECT k, v IS NULL, v, n FROM x WHERE k > 1700;
-- @params '{1701,1702}'
-- @params '{1703}'
SELECT k FROM x WHERE k = ANY ($1::INT[]);
RESET array_nulls;
SET quote_all_identifiers = on;
SELECT count(*) FROM x JOIN y USING (k);
SELECT v FROM x WHERE k = 7;
INSERT INTO x VALUES (1704, 'q', 1) RETURNING x;
UPDATE x SET n = n + 1 WHERE k = 1704;
INSERT INTO z VALUES (9, 'quoted');
RESET quote_all_identifiers;
-- Sums beyond the largest number.
-- @ordered
SELECT k FROM x ORDER BY k LIMIT 9223372036854775807 OFFSET 38;
-- @ordered
-- @params 9223372036854775807, 39
-- @params NULL, 39
-- @params 2, NULL
SELECT k FROM x ORDER BY k LIMIT $1 OFFSET $2;
-- @error 2201X
SELECT k FROM x ORDER BY k LIMIT 3 OFFSET -1;
