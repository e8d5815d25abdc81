BEGIN;
INSERT INTO x VALUES (100, 'a', 1);
SELECT * FROM x WHERE k = 100;
INSERT INTO x VALUES (101, 'b', 2), (102, 'c', 3), (103, 'd', 4);
SELECT count(*) FROM x;
UPDATE x SET n = n + 1 WHERE k >= 100;
SELECT sum(n) FROM x WHERE k >= 100;
COPY x FROM STDIN;
104	copied	5
105	copied	6
\.
SELECT count(*), sum(n) FROM x WHERE k >= 100;
DELETE FROM x WHERE k = 101;
INSERT INTO z VALUES (3, 'z3');
SELECT x.k, z.v FROM x JOIN z ON z.id = x.n - 3;
UPDATE loc SET v = 'changed';
COMMIT;
SELECT count(*) FROM x;
BEGIN;
DELETE FROM x;
SELECT count(*) FROM x;
INSERT INTO x SELECT k, v, 1 FROM y ON CONFLICT DO NOTHING;
ROLLBACK;
SELECT count(*), sum(n) FROM x;
BEGIN;
UPDATE x SET n = 5 WHERE k = 1;
SAVEPOINT a;
UPDATE x SET n = 6 WHERE k = 1;
UPDATE x SET n = 6 WHERE k = 2;
SAVEPOINT b;
UPDATE x SET n = 7;
SELECT sum(n) FROM x;
ROLLBACK TO b;
SELECT k, n FROM x WHERE k < 4;
ROLLBACK TO a;
SELECT k, n FROM x WHERE k < 4;
RELEASE a;
COMMIT;
SELECT k, n FROM x WHERE k < 4;
BEGIN;
SAVEPOINT a;
INSERT INTO x VALUES (200, 's', 1);
-- @error 23505
INSERT INTO x VALUES (1, 'dup', 1);
-- @error 25P02
SELECT 1;
ROLLBACK TO a;
SELECT count(*) FROM x WHERE k = 200;
INSERT INTO x VALUES (201, 's', 1);
-- @error 23514
UPDATE x SET n = 5000 WHERE k = 201;
ROLLBACK TO SAVEPOINT a;
INSERT INTO x VALUES (202, 's', 1);
COMMIT;
SELECT k FROM x WHERE k BETWEEN 200 AND 210;
BEGIN;
INSERT INTO x VALUES (210, 'fails', 1);
-- @error 22012
SELECT 1 / (k - k) FROM x;
-- @error 25P02
INSERT INTO x VALUES (211, 'never', 1);
COMMIT;
SELECT k FROM x WHERE k BETWEEN 200 AND 220;
BEGIN;
SAVEPOINT a;
UPDATE z SET v = 'changed' WHERE id = 1;
SAVEPOINT a;
UPDATE z SET v = 'twice' WHERE id = 1;
ROLLBACK TO a;
SELECT * FROM z;
RELEASE a;
ROLLBACK TO a;
SELECT * FROM z;
COMMIT;
-- @error 23514
INSERT INTO x VALUES (300, 'first', 1), (301, 'second', 1), (302, 'third', 2000), (303, 'fourth', 1);
SELECT count(*) FROM x WHERE k >= 300;
-- @error 23514
UPDATE x SET n = n * 30;
SELECT max(n) FROM x;
-- @error 25P01
ROLLBACK TO nothing;
BEGIN;
-- @error 3B001
ROLLBACK TO nothing;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM x;
-- @session other
INSERT INTO x VALUES (400, 'from another', 1);
-- @session
SELECT count(*) FROM x;
SELECT count(*) FROM x WHERE k = 400;
COMMIT;
SELECT count(*) FROM x WHERE k = 400;
BEGIN;
UPDATE x SET v = 'uncommitted' WHERE k = 400;
-- @session other
SELECT v FROM x WHERE k = 400;
SET lock_timeout = '200ms';
-- @error 55P03
UPDATE x SET v = 'blocked' WHERE k = 400;
-- @error 55P03
SELECT * FROM x WHERE k = 400 FOR UPDATE NOWAIT;
SELECT k FROM x WHERE k IN (1, 400) FOR UPDATE SKIP LOCKED;
-- @session
COMMIT;
-- @session other
UPDATE x SET v = 'free' WHERE k = 400;
-- @session
BEGIN;
SELECT * FROM x WHERE k = 1 FOR UPDATE;
SELECT * FROM x WHERE k IN (1, 2) FOR SHARE;
SELECT x.k FROM x JOIN y USING (k) WHERE x.k = 3 FOR UPDATE OF x;
SELECT k FROM x FOR UPDATE;
SELECT x.k, z.v FROM x JOIN z ON z.id = x.k FOR NO KEY UPDATE OF x;
SELECT * FROM z FOR UPDATE;
-- @ordered
SELECT k FROM x ORDER BY k LIMIT 2 FOR UPDATE;
COMMIT;
-- @error 0A000
SELECT count(*) FROM x FOR UPDATE;
BEGIN READ ONLY;
SELECT count(*) FROM x;
-- @error 25006
INSERT INTO x VALUES (500, 'no', 1);
ROLLBACK;
SET default_transaction_read_only = on;
-- @error 25006
UPDATE x SET n = 1 WHERE k = 1;
SELECT n FROM x WHERE k = 1;
RESET default_transaction_read_only;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE x SET n = 2 WHERE k = 1;
SELECT n FROM x WHERE k = 1;
COMMIT;
BEGIN;
CREATE TABLE made (k INT);
INSERT INTO made SELECT k FROM x;
SELECT count(*) FROM made;
ROLLBACK;
BEGIN;
TRUNCATE y;
SELECT count(*) FROM y;
INSERT INTO y VALUES (1, 'after truncate');
SELECT * FROM y;
ROLLBACK;
SELECT count(*) FROM y;
BEGIN;
ALTER TABLE x ADD COLUMN extra INT DEFAULT 4;
SELECT sum(extra) FROM x;
UPDATE x SET extra = k WHERE k < 5;
SELECT sum(extra) FROM x;
ROLLBACK;
-- @error 42703
SELECT extra FROM x;
BEGIN;
SET LOCAL statement_timeout = '20ms';
-- @error 57014
SELECT count(*) FROM x WHERE pg_sleep(0.3) IS NOT NULL;
ROLLBACK;
SELECT count(*) FROM x;
SET statement_timeout = '500ms';
-- @error 57014
SELECT pg_sleep(5) FROM x WHERE k = 1;
SET statement_timeout = '60s';
SELECT 1;
BEGIN\; INSERT INTO x VALUES (601, 'multi', 1)\; COMMIT;
INSERT INTO x VALUES (602, 'implicit', 1)\; INSERT INTO x VALUES (603, 'implicit', 1);
-- @error 23505
INSERT INTO x VALUES (604, 'implicit', 1)\; INSERT INTO x VALUES (1, 'dup', 1);
SELECT k FROM x WHERE k > 600;
BEGIN;
INSERT INTO x VALUES (700, 'chain', 1);
COMMIT AND CHAIN;
INSERT INTO x VALUES (701, 'chain', 1);
ROLLBACK AND CHAIN;
INSERT INTO x VALUES (702, 'chain', 1);
COMMIT;
SELECT k FROM x WHERE k >= 700;
