-- Views, SQL and PL/pgSQL functions, procedures over distributed tables.
CREATE TABLE acc (id INT PRIMARY KEY, owner TEXT, balance NUMERIC);
-- @distribute acc id
CREATE TABLE log (id INT, seq INT, what TEXT);
-- @distribute log id colocate acc
CREATE TABLE kinds (code TEXT PRIMARY KEY, factor NUMERIC);
-- @reference kinds
INSERT INTO acc SELECT i, 'owner' || i % 6, i * 10 FROM generate_series(1, 30) i;
INSERT INTO log SELECT i % 30 + 1, i, 'w' || i % 3 FROM generate_series(1, 60) i;
INSERT INTO kinds VALUES ('w0', 1), ('w1', 1.5), ('w2', NULL);
