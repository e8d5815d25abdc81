-- Keys that are equal without being the same: citext, nondeterministic collations.
CREATE EXTENSION IF NOT EXISTS citext;
-- An extension is made on every node by hand.
-- @cluster SELECT run_command_on_workers('CREATE EXTENSION IF NOT EXISTS citext')
CREATE COLLATION IF NOT EXISTS nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE ci (k CITEXT, n INT);
-- @distribute ci k
INSERT INTO ci VALUES ('Abc', 1), ('ABC', 2), ('xyz', 3);
CREATE TABLE nd (k TEXT COLLATE nocase, n INT, o TEXT COLLATE nocase);
-- @distribute nd k
INSERT INTO nd VALUES ('Abc', 1, 'X'), ('ABC', 2, 'x'), ('xyz', 3, 'Y'), ('XYZ', 4, 'y');
-- Columns that are cast to text where they are compared, and one with a collation of its own. Servers of
-- tests order by bytes.
CREATE TABLE cl (k INT, t TEXT, v VARCHAR(20), b CHAR(5), n NAME, e TEXT COLLATE "en-US-x-icu");
-- @distribute cl k
INSERT INTO cl SELECT i, w, w, w, w, w FROM unnest(ARRAY['a', 'B', 'c', 'A', 'abc', 'ABC', 'Abb', 'x', 'X', NULL]) WITH ORDINALITY AS x (w, i);
CREATE TABLE cr (k INT, id INT, t TEXT, v VARCHAR(20), e TEXT COLLATE "en-US-x-icu");
-- @distribute cr id
INSERT INTO cr SELECT i % 5, i, w, w, w FROM unnest(ARRAY['A', 'b', 'abc', 'aBC', 'x', 'Y', NULL]) WITH ORDINALITY AS x (w, i);
-- Keys of which casts make equal what is on several shards.
CREATE TABLE kt (k TEXT, n INT);
-- @distribute kt k
INSERT INTO kt VALUES ('a', 1), ('a ', 2), ('a  ', 3), ('A', 4), ('b', 5), ('B ', 6), ('B', 7), ('c', 8), ('C', 9);
CREATE TABLE ko (k TEXT, n INT);
-- @distribute ko k colocate kt
INSERT INTO ko VALUES ('a', 1), ('a ', 2), ('A', 3), ('b ', 4), ('B', 5), ('c', 6);
CREATE TABLE kv (k VARCHAR(10), n INT);
-- @distribute kv k
INSERT INTO kv SELECT * FROM kt;
CREATE TABLE kw (k VARCHAR(10), n INT);
-- @distribute kw k colocate kv
INSERT INTO kw SELECT * FROM ko;
-- @compare cl
-- @compare cr
-- @compare kt
