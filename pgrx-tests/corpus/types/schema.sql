-- Keys of every kind, and columns of types that must survive the way over the network.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS INT CHECK (VALUE > 0);
CREATE TYPE pair AS (a INT, b TEXT);
CREATE TABLE by_text (k TEXT PRIMARY KEY, n INT, v VARCHAR(10), b CHAR(5));
-- @distribute by_text k
INSERT INTO by_text SELECT (ARRAY['a', 'B', 'é', 'zz', '', ' a', 'a ', 'ß', '日本', 'x''y', E'back\\slash', E'tab\t'])[i], i, 'v' || i % 3, 'c' || i % 4 FROM generate_series(1, 12) i;
CREATE TABLE by_uuid (k UUID PRIMARY KEY, n INT);
-- @distribute by_uuid k
INSERT INTO by_uuid SELECT md5(i::text)::uuid, i FROM generate_series(1, 30) i;
CREATE TABLE by_numeric (k NUMERIC PRIMARY KEY, n INT);
-- @distribute by_numeric k
INSERT INTO by_numeric VALUES (0, 1), (1, 2), (1.5, 3), (-1.50, 4), (1e20, 5), (0.000001, 6), (2.0, 7), ('NaN', 8), (123456789012345678901234567890.123, 9);
CREATE TABLE by_date (k DATE, n INT, t TIME, i INTERVAL);
-- @distribute by_date k
INSERT INTO by_date SELECT date '2025-01-01' + i % 10, i, time '10:00' + i * interval '1 minute', i * interval '1 day 2 hours' FROM generate_series(1, 40) i;
CREATE TABLE by_ts (k TIMESTAMPTZ, n INT, ts TIMESTAMP);
-- @distribute by_ts k
INSERT INTO by_ts SELECT timestamptz '2025-01-01 00:00+00' + i * interval '90 minutes', i, timestamp '2025-01-01' + i * interval '1 hour' FROM generate_series(1, 40) i;
CREATE TABLE by_mood (k mood, n INT, p positive, pr pair, ms mood[]);
-- @distribute by_mood k
INSERT INTO by_mood SELECT (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood, i, i, ROW(i, 'b' || i)::pair, ARRAY['ok', 'sad']::mood[] FROM generate_series(1, 20) i;
CREATE TABLE by_bool (k BOOLEAN, n INT);
-- @distribute by_bool k
INSERT INTO by_bool SELECT i % 3 = 0, i FROM generate_series(1, 10) i;
CREATE TABLE by_bigint (k BIGINT, i2 SMALLINT, i4 INT, f4 REAL, f8 DOUBLE PRECISION, num NUMERIC(10,3), j JSON, jb JSONB, ia INT[], ta TEXT[][], ba BYTEA, ip INET, r INT4RANGE, bits BIT(4), x XML, tsv TSVECTOR, pt POINT, m MONEY, o OID);
-- @distribute by_bigint k
INSERT INTO by_bigint SELECT i * 1000000007::bigint, i % 100, i, i / 3.0, i / 7.0, i / 9.0, json_build_object('b', i, 'a', NULL), jsonb_build_array(i, 'x', NULL, true), ARRAY[i, NULL, -i],
    ARRAY[ARRAY['a', 'b"c'], ARRAY[NULL, '{}']], decode(md5(i::text), 'hex'), ('10.0.0.' || i)::inet, int4range(i, i + 5), (i % 16)::bit(4), NULL, to_tsvector('simple', 'word' || i), point(i, -i), (i * 100)::money, i FROM generate_series(1, 40) i;
INSERT INTO by_bigint (k) VALUES (0), (-1), (9223372036854775807), (-9223372036854775808);
CREATE TABLE by_smallint (k SMALLINT, n INT);
-- @distribute by_smallint k
INSERT INTO by_smallint SELECT i % 12, i FROM generate_series(-30, 30) i;
CREATE TABLE by_varchar (k VARCHAR(20), c CHAR(8), n INT);
-- @distribute by_varchar k
INSERT INTO by_varchar SELECT 'key' || i % 8, 'ch' || i % 5, i FROM generate_series(1, 30) i;
CREATE TABLE by_char (k CHAR(6), n INT);
-- @distribute by_char k
INSERT INTO by_char SELECT 'ch' || i % 5, i FROM generate_series(1, 20) i;
CREATE TABLE by_float (k DOUBLE PRECISION, n INT);
-- @distribute by_float k
INSERT INTO by_float VALUES (0.0, 1), ('-0', 2), ('NaN', 3), ('Infinity', 4), ('-Infinity', 5), (1.5, 6), (1e300, 7);
CREATE TABLE by_bytea (k BYTEA, n INT);
-- @distribute by_bytea k
INSERT INTO by_bytea SELECT decode(md5((i % 5)::text), 'hex'), i FROM generate_series(1, 20) i;
