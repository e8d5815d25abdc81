-- Objects of the user's that no distributed table has a column of: other nodes do not have them.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TYPE pt AS (x INT, y TEXT);
CREATE TYPE cell AS (p pt, m mood[]);
CREATE DOMAIN positive AS INT CHECK (VALUE > 0);
CREATE DOMAIN plain AS TEXT;
CREATE DOMAIN sizes AS size[];
CREATE TYPE span AS RANGE (subtype = int4, multirange_type_name = span_multirange);
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION bytes FROM "C";
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
CREATE FUNCTION joined(INT, INT) RETURNS INT LANGUAGE SQL IMMUTABLE AS 'SELECT $1 * 10 + $2';
CREATE FUNCTION felt(TEXT) RETURNS mood LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN CASE WHEN $1 < 'v2' THEN 'sad' ELSE 'ok' END; END$$;
CREATE OPERATOR <+> (FUNCTION = joined, LEFTARG = INT, RIGHTARG = INT);
CREATE OPERATOR |+| (FUNCTION = int4pl, LEFTARG = INT, RIGHTARG = INT);
CREATE FUNCTION many(INT DEFAULT 3, VARIADIC TEXT[] DEFAULT '{}') RETURNS INT LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 + cardinality($2); END';
CREATE FUNCTION tagged(i INT, b TEXT DEFAULT 'x') RETURNS TEXT LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN b || i; END';
CREATE AGGREGATE total(INT) (sfunc = int4pl, stype = INT, initcond = '0');
-- Used by a column: the nodes have it.
CREATE TYPE color AS ENUM ('red', 'green', 'blue');
CREATE TABLE t (k INT, id INT, n INT, v TEXT, c color, j JSONB, PRIMARY KEY (k, id), CHECK (many(k, v) > 0), CHECK (tagged(k) <> ''));
-- @distribute t k
INSERT INTO t SELECT i % 20, i, i % 7, (ARRAY['v1', 'V2', 'v3', 'ok', NULL])[1 + i % 5], (ARRAY['red', 'green', 'blue'])[1 + i % 3]::color, jsonb_build_object('x', i, 'y', 'j' || i) FROM generate_series(1, 60) i;
CREATE TABLE u (k INT, v TEXT);
-- @distribute u k
INSERT INTO u SELECT i, 'v' || i % 4 FROM generate_series(1, 25) i;
CREATE TABLE r (id INT PRIMARY KEY, v TEXT, sz size);
-- @reference r
INSERT INTO r SELECT i, 'v' || i, (ARRAY['small', 'large'])[1 + i % 2]::size FROM generate_series(1, 6) i;
CREATE VIEW shown AS SELECT k, v FROM t;
-- @compare t
-- @compare u
-- @compare r
-- Collations of columns, which get other names.
CREATE SCHEMA other_place;
CREATE COLLATION swedish (provider = icu, locale = 'sv');
CREATE COLLATION numbers (provider = icu, locale = 'und-u-kn-true');
CREATE COLLATION unused (provider = icu, locale = 'de');
CREATE TABLE w (k INT, v TEXT COLLATE swedish, n TEXT COLLATE numbers);
-- @distribute w k colocate none
INSERT INTO w SELECT i, chr(228 + i % 3) || i, 'n' || i FROM generate_series(1, 30) i;
