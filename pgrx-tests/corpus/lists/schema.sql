-- Long lists of values of the distribution column.
CREATE TABLE i (k INT PRIMARY KEY, v INT, t TEXT);
-- @distribute i k
CREATE TABLE b (k BIGINT, v INT);
-- @distribute b k colocate none
CREATE TABLE t (k TEXT, v INT, PRIMARY KEY (k));
-- @distribute t k
CREATE TABLE n (k NUMERIC, v INT);
-- @distribute n k
CREATE TABLE u (k UUID, v INT);
-- @distribute u k
CREATE TABLE w (k TIMESTAMPTZ, v INT);
-- @distribute w k
CREATE TABLE i2 (k INT, n INT, t TEXT);
-- @distribute i2 k colocate i
CREATE TABLE r (id INT PRIMARY KEY, v INT);
-- @reference r
CREATE TABLE loc (id INT, v INT);
INSERT INTO i SELECT g, g % 7, 't' || g FROM generate_series(1, 60) g;
INSERT INTO i2 SELECT g % 50, g % 5, 't' || g % 9 FROM generate_series(1, 120) g;
INSERT INTO b SELECT g, g % 7 FROM generate_series(1, 60) g;
INSERT INTO t SELECT 'it''s \ ' || g, g % 7 FROM generate_series(1, 60) g;
INSERT INTO n SELECT g / 2.0, g % 7 FROM generate_series(1, 60) g;
INSERT INTO u SELECT md5(g::text)::uuid, g % 7 FROM generate_series(1, 60) g;
INSERT INTO w SELECT '2024-01-01 00:00:00+00'::timestamptz + g * INTERVAL '1 hour', g % 7 FROM generate_series(1, 60) g;
INSERT INTO r SELECT g, g FROM generate_series(1, 30) g;
INSERT INTO loc SELECT g, g FROM generate_series(1, 30) g;
CREATE TYPE mood AS ENUM ('sad', 'fine', 'glad');
CREATE TABLE e (k MOOD, v INT);
-- @distribute e k
INSERT INTO e SELECT (enum_range(NULL::mood))[1 + g % 3], g FROM generate_series(1, 12) g;
CREATE FUNCTION ints(a int, b int) RETURNS int[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg(g) FROM generate_series(a, b) g$$;
CREATE FUNCTION fives() RETURNS int[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg(NULLIF(g % 5, 0)) FROM generate_series(1, 40) g$$;
CREATE FUNCTION bigs() RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg(g + (g % 3) * 4294967296) FROM generate_series(1, 40) g$$;
CREATE FUNCTION texts() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg('it''s \ ' || g) FROM generate_series(1, 40) g$$;
CREATE FUNCTION numbers() RETURNS numeric[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg(g / 4.00) FROM generate_series(1, 40) g$$;
CREATE FUNCTION ids() RETURNS uuid[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg(md5(g::text)::uuid) FROM generate_series(1, 40) g$$;
CREATE FUNCTION ts() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg('t' || g) FROM generate_series(1, 40) g$$;
CREATE FUNCTION times() RETURNS timestamptz[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg('2024-01-01 00:00:00+00'::timestamptz + g * INTERVAL '1 hour') FROM generate_series(1, 40) g$$;
