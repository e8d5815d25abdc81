-- Procedures and blocks that end transactions themselves.
CREATE PROCEDURE by_steps(last INT, bad INT) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..last LOOP
        UPDATE t SET v = 'step' || i WHERE k IN (i, i + 1);
        IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
        PERFORM fail_at(i, bad);
    END LOOP;
END $$;
CALL by_steps(10, 0);
SELECT k, v FROM t WHERE k < 14;
-- @error P0009
CALL by_steps(10, 5);
SELECT k, v FROM t WHERE k < 14;
BEGIN;
-- @error 2D000
CALL by_steps(3, 0);
ROLLBACK;
SELECT k, v FROM t WHERE k < 14;
DO $$ BEGIN
    FOR i IN 1..6 LOOP
        INSERT INTO t VALUES (100 + i, 'do', 1);
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END $$;
SELECT k FROM t WHERE k > 100;
BEGIN;
-- @error 2D000
DO $$ BEGIN UPDATE t SET v = 'x' WHERE k = 1; COMMIT; END $$;
ROLLBACK;
-- A loop over rows that commits within.
DO $$ DECLARE row RECORD; BEGIN
    FOR row IN SELECT k FROM t WHERE k <= 20 ORDER BY k LOOP
        UPDATE t SET v = 'row' || row.k WHERE k = row.k;
        IF row.k % 5 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END $$;
SELECT k, v FROM t WHERE k <= 20;
-- Blocks with handlers before and after, and what is not possible inside of one.
DO $$ BEGIN
    BEGIN
        INSERT INTO t VALUES (1, 'again', 1);
    EXCEPTION WHEN unique_violation THEN
        UPDATE t SET v = 'handled' WHERE k = 1;
    END;
    COMMIT;
    UPDATE t SET v = 'lost' WHERE k = 2;
    ROLLBACK;
    UPDATE t SET v = 'last' WHERE k = 3;
END $$;
SELECT k, v FROM t WHERE k < 4;
-- @error 2D000
DO $$ BEGIN
    UPDATE t SET v = 'first' WHERE k = 1;
    BEGIN
        UPDATE t SET v = 'second' WHERE k = 2;
        COMMIT;
    EXCEPTION WHEN division_by_zero THEN NULL; END;
END $$;
SELECT k, v FROM t WHERE k < 4;
CREATE PROCEDURE outer_one() LANGUAGE plpgsql AS $$
BEGIN
    UPDATE t SET v = 'outer' WHERE k = 1;
    CALL by_steps(2, 0);
    UPDATE t SET v = 'outer' WHERE k = 9;
    COMMIT AND CHAIN;
    UPDATE t SET v = 'not this' WHERE k = 10;
    ROLLBACK;
END $$;
CALL outer_one();
SELECT k, v FROM t WHERE k < 11;
CREATE PROCEDURE levels(INOUT seen TEXT) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    seen := (SELECT current_setting('transaction_isolation') FROM t WHERE k = 1);
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
    seen := seen || ',' || (SELECT current_setting('transaction_isolation') FROM t WHERE k = 1);
    COMMIT AND CHAIN;
    seen := seen || ',' || (SELECT current_setting('transaction_isolation') FROM t WHERE k = 1);
    COMMIT;
    seen := seen || ',' || (SELECT current_setting('transaction_isolation') FROM t WHERE k = 1);
END $$;
CALL levels('');
CREATE PROCEDURE by_sql(a INT) LANGUAGE sql AS
$$ UPDATE t SET v = 'sql' WHERE k = a; UPDATE t SET v = 'sql' WHERE k = a + 1 $$;
CALL by_sql(4);
SELECT k, v FROM t WHERE v = 'sql';
-- A cursor that is open over a commit of a procedure.
CREATE PROCEDURE over_commits(INOUT total BIGINT) LANGUAGE plpgsql AS $$
DECLARE row RECORD;
BEGIN
    FOR row IN SELECT t.k, u.n FROM t JOIN u USING (k) ORDER BY 1, 2 LOOP
        total := total + row.k * row.n;
        UPDATE t SET n = total % 900 WHERE k = row.k;
        COMMIT;
    END LOOP;
END $$;
CALL over_commits(0);
SELECT sum(n) FROM t;
DELETE FROM t WHERE k > 60;
UPDATE t SET v = 't' || k, n = k;
-- Locks that the application asks for.
BEGIN;
SELECT pg_advisory_xact_lock(7001);
SELECT pg_try_advisory_xact_lock(7002) FROM t WHERE k = 1;
-- @session other
SELECT pg_try_advisory_lock(7001);
SELECT pg_try_advisory_lock(7002);
-- @session
COMMIT;
-- @session other
SELECT pg_try_advisory_lock(7001);
SELECT pg_advisory_unlock_all();
-- @session
SELECT pg_advisory_lock(7003) FROM t WHERE k = 1;
-- @session other
SELECT pg_try_advisory_lock(7003);
-- @session
SELECT pg_advisory_unlock(7003);
-- @session other
SELECT pg_try_advisory_lock(7003);
SELECT pg_advisory_unlock(7003);
-- @session
SELECT count(pg_try_advisory_lock(k)) FROM t WHERE k IN (1, 2, 3);
-- @session other
SELECT count(*) FILTER (WHERE pg_try_advisory_lock(i)) FROM generate_series(1, 3) i;
-- @session
SELECT count(*) FILTER (WHERE pg_advisory_unlock(k)) FROM t WHERE k IN (1, 2, 3);
-- @session other
SELECT pg_advisory_unlock_all();
-- @session
-- Notifications.
LISTEN news;
BEGIN;
UPDATE t SET v = 'told' WHERE k IN (1, 2, 3, 4, 5, 6);
NOTIFY news, 'told';
SELECT pg_notify('news', v) FROM t WHERE k = 1;
COMMIT;
SELECT count(*) FROM t WHERE v = 'told';
UNLISTEN news;
BEGIN;
INSERT INTO l VALUES (300, 'both');
UPDATE t SET v = 'both' WHERE k IN (1, 2, 3, 4, 5, 6);
NOTIFY news;
COMMIT;
SELECT count(*) FROM t WHERE v = 'both';
-- A transaction that the user prepares.
BEGIN;
ROLLBACK;
BEGIN;
SELECT count(*) FROM t;
SELECT v FROM t WHERE k = 1;
PREPARE TRANSACTION 'blocks reads';
-- @session other
COMMIT PREPARED 'blocks reads';
-- @session
BEGIN;
INSERT INTO l VALUES (301, 'prepared');
SELECT count(*) FROM l JOIN t USING (k);
PREPARE TRANSACTION 'blocks local';
SELECT count(*) FROM l WHERE k = 301;
SELECT count(*) FROM t;
-- @session other
COMMIT PREPARED 'blocks local';
-- @session
SELECT count(*) FROM l WHERE k = 301;
BEGIN;
INSERT INTO l VALUES (302, 'prepared');
PREPARE TRANSACTION 'blocks back';
ROLLBACK PREPARED 'blocks back';
SELECT count(*) FROM l WHERE k = 302;
-- @error 42704
COMMIT PREPARED 'nothing';
BEGIN;
CREATE TEMP TABLE own AS SELECT k FROM t;
-- @error 0A000
PREPARE TRANSACTION 'blocks temporary';
SELECT count(*) FROM t;
DELETE FROM l WHERE k >= 100;
UPDATE t SET v = 't' || k;
