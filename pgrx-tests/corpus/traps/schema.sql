-- Where wrong answers come from: a test for each trap of meaning.
CREATE TYPE color AS ENUM ('red', 'green', 'blue');
CREATE TYPE point3 AS (x INT, y INT, c color);
CREATE DOMAIN colors AS color[];
CREATE TABLE e (k INT, c color, cs color[], p point3, ps point3[], d colors, t TEXT);
-- @distribute e k
INSERT INTO e SELECT i, (ARRAY['red', 'green', 'blue'])[1 + i % 3]::color, ARRAY['red', 'blue']::color[], ROW(i, 2, 'green')::point3, ARRAY[ROW(1, i, 'red')::point3], ARRAY['blue']::color[], 't' || i FROM generate_series(1, 12) i;
CREATE TABLE drops (dropped1 INT, k INT, dropped2 TEXT, v TEXT, n INT);
ALTER TABLE drops DROP COLUMN dropped1, DROP COLUMN dropped2;
INSERT INTO drops SELECT i, 'v' || i, i % 3 FROM generate_series(1, 10) i;
-- @distribute drops k
ALTER TABLE drops ADD COLUMN added INT DEFAULT 5;
CREATE TABLE w (k INT, n INT, v TEXT);
-- @distribute w k
INSERT INTO w SELECT i, i % 4, 'w' || i FROM generate_series(1, 30) i;
CREATE TABLE w2 (k INT, n INT, v TEXT);
-- @distribute w2 k colocate w
INSERT INTO w2 SELECT i, i % 5, 'x' || i FROM generate_series(20, 45) i;
CREATE TABLE ref (id INT, v TEXT);
-- @reference ref
INSERT INTO ref VALUES (1, 'r1'), (2, 'r2'), (100, 'r100');
CREATE TABLE v (k INT, seq INT, r DOUBLE PRECISION, ts TIMESTAMPTZ, who NAME, tx BIGINT);
-- @distribute v k
CREATE SEQUENCE s1;
