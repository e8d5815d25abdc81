-- Blocks of every mixture, savepoints, cursors, locks.
CREATE TABLE x (k INT PRIMARY KEY, v TEXT, n INT CHECK (n < 1000));
-- @distribute x k
CREATE TABLE y (k INT, v TEXT);
-- @distribute y k colocate x
CREATE TABLE z (id INT PRIMARY KEY, v TEXT);
-- @reference z
CREATE TABLE loc (id INT, v TEXT);
-- @compare loc
INSERT INTO x SELECT i, 'x' || i, i FROM generate_series(1, 40) i;
INSERT INTO y SELECT i % 40, 'y' || i FROM generate_series(1, 80) i;
INSERT INTO z VALUES (1, 'z1'), (2, 'z2');
INSERT INTO loc VALUES (1, 'l1');
