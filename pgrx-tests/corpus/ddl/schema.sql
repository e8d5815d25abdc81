-- Changes of tables that already have rows.
CREATE TABLE d (k INT, v TEXT, n INT);
-- @distribute d k
CREATE TABLE f (k INT PRIMARY KEY, v TEXT);
-- @distribute f k colocate d
CREATE TABLE g (id INT PRIMARY KEY, v TEXT);
-- @reference g
INSERT INTO d SELECT i, 'd' || i % 5, i FROM generate_series(1, 40) i;
INSERT INTO f SELECT i, 'f' || i FROM generate_series(1, 20) i;
INSERT INTO g VALUES (1, 'g1'), (2, 'g2');
-- Defined under settings by which text is read otherwise.
SET standard_conforming_strings = off;
CREATE TABLE q (k INT, t TEXT, tt TEXT GENERATED ALWAYS AS (t || 'a\\b') STORED, CHECK (t <> 'x\\y'));
-- @distribute q k
RESET standard_conforming_strings;
INSERT INTO q SELECT i, 'q' || i FROM generate_series(1, 12) i;
