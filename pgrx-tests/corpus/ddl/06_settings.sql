-- What text means depends on settings of the session: shards are made with what it meant here.
-- @error 23514
INSERT INTO q VALUES (20, E'x\\y');
SELECT k, t, tt FROM q;
SET standard_conforming_strings = off;
ALTER TABLE q ADD CONSTRAINT q_t CHECK (t <> 'a\\b');
-- @error 23514
INSERT INTO q VALUES (1, 'a\\b');
-- @error 23514
UPDATE q SET t = E'a\\b' WHERE k = 2;
ALTER TABLE q ADD COLUMN g TEXT GENERATED ALWAYS AS (t || '\\') STORED, ADD COLUMN h TEXT DEFAULT '\\h';
SELECT k, t, g, h, length(g) FROM q;
CREATE UNIQUE INDEX q_u ON q (k, lower(t)) WHERE t <> 'c\\d';
INSERT INTO q (k, t) VALUES (30, 'c\\d'), (30, 'c\\d');
-- @error 23505
INSERT INTO q (k, t) VALUES (31, 'c\\\\d'), (31, 'c\\\\d');
CREATE INDEX CONCURRENTLY q_c ON q ((t || 'a\\b'));
ALTER TABLE q ALTER COLUMN h TYPE TEXT USING h || '\\t';
SELECT k, h FROM q;
CREATE DOMAIN no_slash AS TEXT CHECK (VALUE <> '\\');
ALTER TABLE q ADD COLUMN n no_slash;
RESET standard_conforming_strings;
-- @error 23514
UPDATE q SET n = '\' WHERE k = 1;
-- @error 23514
UPDATE q SET t = 'a\b' WHERE k = 2;
DROP INDEX q_u;
ALTER TABLE q DROP COLUMN g, DROP COLUMN h;
-- Values of columns that are added to rows.
SET IntervalStyle = 'sql_standard';
ALTER TABLE q ADD COLUMN c1 INTERVAL DEFAULT '-1 day -2 hours', ADD COLUMN c2 INTERVAL DEFAULT '-1-2 +3 4:05:06';
SET IntervalStyle = 'iso_8601';
ALTER TABLE q ADD COLUMN c3 INTERVAL DEFAULT '-1 day 2 hours', ADD CHECK (c3 < INTERVAL '-1 day +4 hours');
RESET IntervalStyle;
SELECT k, c1, c2, c3 FROM q;
SELECT count(*) FROM q WHERE c1 = INTERVAL '-1 day -2 hours';
-- @error 23514
UPDATE q SET c3 = '1 day';
SET DateStyle = 'SQL, DMY';
ALTER TABLE q ADD COLUMN c4 DATE DEFAULT '0012-10-11', ADD COLUMN c5 TIMESTAMPTZ DEFAULT '2024-03-04 05:06:07+02';
SET DateStyle = 'SQL, MDY';
ALTER TABLE q ADD COLUMN c6 DATE DEFAULT '2024-03-04', ADD CONSTRAINT q_c6 CHECK (c6 < DATE '2024-03-14');
SET DateStyle = 'German';
ALTER TABLE q ADD COLUMN c7 DATE DEFAULT '2024-03-04', ADD COLUMN c8 DATE GENERATED ALWAYS AS (c7 + (k + (DATE '2024-05-04' - DATE '2024-03-04'))) STORED;
SET DateStyle = 'Postgres, DMY';
ALTER TABLE q ADD COLUMN c9 TIMESTAMP DEFAULT '2024-03-04 05:06:07.5';
RESET DateStyle;
SELECT k, c4, c5, c6, c7, c8, c9 FROM q;
-- @error 23514
UPDATE q SET c6 = '2024-03-15' WHERE k = 2;
SET array_nulls = off;
ALTER TABLE q ADD COLUMN a1 INT[] DEFAULT ARRAY[1, NULL], ADD COLUMN a2 TEXT[] DEFAULT '{a, NULL}', ADD CONSTRAINT q_a CHECK (a2 <> ARRAY['b', NULL]);
RESET array_nulls;
SELECT k, a1, a2, a2[2] IS NULL, a1[2] IS NULL FROM q;
-- @error 23514
UPDATE q SET a2 = ARRAY['b', NULL] WHERE k = 3;
SET extra_float_digits = -10;
ALTER TABLE q ADD COLUMN f FLOAT8 DEFAULT 0.1::float8 + 0.2::float8, ADD CONSTRAINT q_f CHECK (f <> 1.23456789012345678::float8);
RESET extra_float_digits;
SELECT k, f FROM q;
-- @error 23514
UPDATE q SET f = 1.23456789012345678 WHERE k = 1;
UPDATE q SET f = 1.23456 WHERE k = 1;
DROP TABLE q;
DROP DOMAIN no_slash;
