-- Small tables with NULLs, duplicates and gaps: every way of joining, on the key and beside it.
CREATE TABLE a (k INT, x INT, s TEXT);
-- @distribute a k
CREATE TABLE b (k INT, y INT, s TEXT);
-- @distribute b k colocate a
CREATE TABLE c (id BIGINT, k INT, z NUMERIC);
-- @distribute c id
CREATE TABLE r (id INT, label TEXT);
-- @reference r
CREATE TABLE l (id INT, note TEXT);
-- @compare l
CREATE TABLE empty (k INT, x INT);
-- @distribute empty k colocate a
CREATE TABLE skew (k INT, n INT);
-- @distribute skew k
INSERT INTO a SELECT i % 25, CASE WHEN i % 4 <> 0 THEN i % 10 END, CASE WHEN i % 5 <> 0 THEN 's' || i % 7 END FROM generate_series(1, 60) i;
INSERT INTO b SELECT 10 + i % 25, CASE WHEN i % 3 <> 0 THEN i % 8 END, CASE WHEN i % 6 <> 0 THEN 's' || i % 9 END FROM generate_series(1, 50) i;
INSERT INTO c SELECT i, CASE WHEN i % 7 <> 0 THEN i % 30 END, i / 4.0 FROM generate_series(1, 45) i;
INSERT INTO r VALUES (1, 'one'), (2, 'two'), (3, NULL), (NULL, 'none'), (50, 'fifty'), (2, 'deux');
INSERT INTO l VALUES (1, 'l1'), (5, 'l5'), (NULL, 'ln'), (77, 'l77');
INSERT INTO skew SELECT CASE WHEN i % 10 < 9 THEN 1 ELSE i END, i FROM generate_series(1, 300) i;
