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
