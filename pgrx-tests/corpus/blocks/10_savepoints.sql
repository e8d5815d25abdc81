-- Many savepoints, each of which touches another node.
BEGIN;
UPDATE t SET v = 'a' WHERE k = 1;
SAVEPOINT s1;
UPDATE t SET v = 'b' WHERE k = 2;
SAVEPOINT s2;
UPDATE t SET v = 'c' WHERE k = 3;
SAVEPOINT s3;
UPDATE t SET v = 'd' WHERE k = 4;
SAVEPOINT s4;
UPDATE t SET v = 'e' WHERE k = 5;
SAVEPOINT s5;
UPDATE r SET v = 'f' WHERE id = 1;
SAVEPOINT s6;
UPDATE t SET v = 'all';
ROLLBACK TO s6;
SELECT k, v FROM t WHERE k < 7;
ROLLBACK TO s4;
SELECT k, v FROM t WHERE k < 7;
-- @error 3B001
RELEASE s5;
ROLLBACK TO s3;
RELEASE s3;
SELECT k, v FROM t WHERE k < 7;
SELECT * FROM r;
UPDATE t SET v = 'g' WHERE k = 6;
RELEASE s1;
-- @error 3B001
ROLLBACK TO s2;
ROLLBACK;
SELECT count(*) FROM t WHERE v LIKE 't%';
-- Names that are used again hide the older ones.
BEGIN;
SAVEPOINT s;
UPDATE t SET v = 'one' WHERE k = 1;
SAVEPOINT s;
UPDATE t SET v = 'two' WHERE k = 1;
SAVEPOINT s;
UPDATE t SET v = 'three' WHERE k = 1;
ROLLBACK TO s;
SELECT v FROM t WHERE k = 1;
RELEASE s;
ROLLBACK TO s;
SELECT v FROM t WHERE k = 1;
RELEASE s;
SELECT v FROM t WHERE k = 1;
ROLLBACK TO s;
SELECT v FROM t WHERE k = 1;
RELEASE s;
-- @error 3B001
ROLLBACK TO s;
ROLLBACK;
-- Names that look like the ones used between nodes, and such that have to be quoted.
BEGIN;
SAVEPOINT citus_2;
UPDATE t SET v = 'one' WHERE k = 1;
SAVEPOINT "a ""b"" ;";
UPDATE t SET v = 'two' WHERE k IN (1, 2);
SAVEPOINT citus_3;
UPDATE t SET v = 'three' WHERE k IN (1, 2, 3);
ROLLBACK TO "a ""b"" ;";
SELECT k, v FROM t WHERE k < 4;
ROLLBACK TO citus_2;
SELECT k, v FROM t WHERE k < 4;
COMMIT;
-- Errors on nodes, again and again in the same savepoint.
BEGIN;
SAVEPOINT s;
-- @error 22012
UPDATE t SET n = 1 / (n - n);
ROLLBACK TO s;
-- @error 23514
UPDATE t SET n = 1000 WHERE k = 7;
ROLLBACK TO s;
-- @error 23505
INSERT INTO t VALUES (1, 'again', 1);
ROLLBACK TO s;
-- @error 42703
SELECT nothing FROM t;
ROLLBACK TO s;
-- @error 22P02
SELECT v::int FROM t WHERE k = 1;
ROLLBACK TO s;
UPDATE t SET v = 'kept' WHERE k = 8;
COMMIT;
SELECT k, v FROM t WHERE k < 10;
-- An error in the inner savepoint while outer ones are released.
BEGIN;
SAVEPOINT a;
INSERT INTO t VALUES (100, 'a', 1);
SAVEPOINT b;
INSERT INTO t VALUES (101, 'b', 1);
SAVEPOINT c;
INSERT INTO t VALUES (102, 'c', 1);
RELEASE c;
RELEASE b;
SAVEPOINT d;
-- @error 23505
INSERT INTO t VALUES (101, 'd', 1);
-- @error 25P02
RELEASE d;
ROLLBACK TO d;
INSERT INTO t VALUES (103, 'd', 1);
COMMIT;
SELECT k, v FROM t WHERE k >= 100;
DELETE FROM t WHERE k >= 100;
-- A failed transaction block can only end.
BEGIN;
INSERT INTO t VALUES (100, 'a', 1);
-- @error 22012
SELECT 1 / 0;
-- @error 25P02
SAVEPOINT s;
COMMIT;
SELECT count(*) FROM t WHERE k = 100;
-- COPY within savepoints.
BEGIN;
SAVEPOINT s;
COPY t FROM STDIN;
200	copied	1
201	copied	1
202	copied	1
\.
SELECT count(*) FROM t WHERE k >= 200;
ROLLBACK TO s;
-- @error 23505
COPY t FROM STDIN;
203	copied	1
1	again	1
\.
ROLLBACK TO s;
COPY t FROM STDIN;
204	copied	1
\.
COMMIT;
SELECT k FROM t WHERE k >= 200;
DELETE FROM t WHERE k >= 200;
-- Structure that changes within a savepoint.
BEGIN;
SAVEPOINT s;
ALTER TABLE t ADD COLUMN extra INT DEFAULT 3;
SELECT sum(extra) FROM t;
CREATE INDEX t_extra ON t (extra);
ROLLBACK TO s;
-- @error 42703
SELECT extra FROM t;
ROLLBACK TO s;
TRUNCATE u;
SELECT count(*) FROM u;
ROLLBACK TO s;
SELECT count(*) FROM u;
COMMIT;
-- Blocks of PL/pgSQL: each touches a node for the first time inside of the block.
DO $$ BEGIN
    FOR i IN 1..40 LOOP
        BEGIN
            UPDATE t SET v = 'loop' WHERE k = i;
            PERFORM fail_at(i % 4, 0);
        EXCEPTION WHEN SQLSTATE 'P0009' THEN NULL; END;
    END LOOP;
END $$;
SELECT k, v FROM t WHERE k <= 40;
DO $$ DECLARE hits INT := 0; BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            INSERT INTO t VALUES (i, 'new', 1);
        EXCEPTION WHEN unique_violation THEN hits := hits + 1; END;
    END LOOP;
    INSERT INTO l VALUES (100, hits::text);
END $$;
SELECT count(*) FROM t;
SELECT v FROM l WHERE k = 100;
DELETE FROM t WHERE k > 60;
-- 200 blocks inside of each other; the innermost fails, the half of them passes it on.
CREATE FUNCTION deep(level INT) RETURNS INT LANGUAGE plpgsql AS $$
BEGIN
    IF level = 0 THEN
        UPDATE t SET n = 1 / (n - n) WHERE k = 1;
        RETURN 0;
    END IF;
    BEGIN
        UPDATE t SET v = 'deep' || level WHERE k = level % 60 + 1;
        RETURN deep(level - 1) + 1;
    EXCEPTION WHEN division_by_zero THEN
        IF level < 100 THEN RAISE; END IF;
        UPDATE t SET v = 'handled' || level WHERE k = 60;
        RETURN level;
    END;
END $$;
SELECT deep(200);
SELECT k, v FROM t;
-- @error 22012
SELECT deep(50);
SELECT count(*) FROM t WHERE v LIKE 'deep%';
-- A handler that reads and writes, an error in a handler, nested handlers.
DO $$ BEGIN
    BEGIN
        INSERT INTO t VALUES (1, 'again', 1);
    EXCEPTION WHEN unique_violation THEN
        UPDATE t SET v = (SELECT max(v) FROM r) WHERE k = 1;
        BEGIN
            UPDATE t SET n = 5000 WHERE k = 2;
        EXCEPTION WHEN check_violation THEN
            UPDATE t SET v = SQLERRM IS NOT NULL WHERE k = 2;
        END;
    END;
END $$;
SELECT k, v FROM t WHERE k < 3;
-- @error P0001
DO $$ BEGIN
    UPDATE t SET v = 'gone' WHERE k = 1;
    BEGIN
        INSERT INTO t VALUES (1, 'again', 1);
    EXCEPTION WHEN unique_violation THEN RAISE EXCEPTION 'in the handler'; END;
END $$;
SELECT v FROM t WHERE k = 1;
-- What an error says in a handler.
DO $$ DECLARE a TEXT; b TEXT; c TEXT; BEGIN
    INSERT INTO t VALUES (1, 'again', 1);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS a = RETURNED_SQLSTATE, b = CONSTRAINT_NAME, c = TABLE_NAME;
    INSERT INTO l VALUES (101, a || b || c);
END $$;
SELECT v FROM l WHERE k = 101;
-- Loops over a query with writes in blocks inside.
DO $$ DECLARE row RECORD; BEGIN
    FOR row IN SELECT k FROM t ORDER BY k LOOP
        BEGIN
            UPDATE t SET n = row.k + 1 WHERE k = row.k;
            PERFORM fail_at(row.k % 10, 0);
        EXCEPTION WHEN SQLSTATE 'P0009' THEN
            UPDATE t SET n = 0 WHERE k = row.k;
        END;
    END LOOP;
END $$;
SELECT k, n FROM t;
UPDATE t SET v = 't' || k, n = k;
