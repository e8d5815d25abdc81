-- Isolation levels and the rest of what a transaction can be.
BEGIN;
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
SELECT count(*) FROM t;
-- @error 25001
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
ROLLBACK;
BEGIN;
SELECT count(*) FROM t;
-- @error 25001
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
ROLLBACK;
BEGIN;
SAVEPOINT s;
-- @error 25001
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
ROLLBACK;
BEGIN;
SET TRANSACTION READ ONLY;
SELECT current_setting('transaction_read_only') FROM t WHERE k = 1;
-- @error 25006
UPDATE t SET v = 'no' WHERE k = 1;
ROLLBACK;
BEGIN;
UPDATE t SET v = 'yes' WHERE k = 1;
SET TRANSACTION READ ONLY;
SELECT v FROM t WHERE k = 1;
-- @error 25006
UPDATE t SET v = 'no' WHERE k = 1;
ROLLBACK;
BEGIN READ ONLY;
SELECT count(*) FROM t;
-- @error 25001
SET TRANSACTION READ WRITE;
ROLLBACK;
BEGIN READ ONLY;
SET TRANSACTION READ WRITE;
UPDATE t SET v = 'may' WHERE k = 1;
SELECT v FROM t WHERE k = 1;
ROLLBACK;
BEGIN;
UPDATE t SET v = 'kept' WHERE k = 1;
SET TRANSACTION READ ONLY;
SELECT v FROM t WHERE k = 1;
SELECT count(*) FROM t WHERE v = 'kept';
COMMIT;
SELECT v FROM t WHERE k = 1;
BEGIN;
UPDATE t SET v = 'outside' WHERE k = 1;
SAVEPOINT s;
SET TRANSACTION READ ONLY;
SELECT v FROM t WHERE k = 1;
-- @error 25006
UPDATE t SET v = 'inside' WHERE k = 1;
ROLLBACK TO s;
UPDATE t SET v = 'after' WHERE k = 1;
UPDATE t SET v = 'after' WHERE k IN (2, 3, 4, 5);
COMMIT;
SELECT k, v FROM t WHERE k < 6;
-- A transaction that is read only from some savepoint on, with nodes that join there.
BEGIN;
SAVEPOINT s;
SET TRANSACTION READ ONLY;
SELECT count(*) FROM t;
ROLLBACK TO s;
UPDATE t SET v = 't' || k;
COMMIT;
START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT current_setting('transaction_deferrable'), current_setting('transaction_read_only'),
       current_setting('transaction_isolation') FROM t WHERE k = 1;
SELECT count(*) FROM t;
COMMIT;
START TRANSACTION READ WRITE, ISOLATION LEVEL READ UNCOMMITTED;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
UPDATE t SET v = 'uncommitted' WHERE k = 1;
ROLLBACK;
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ;
BEGIN;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
UPDATE t SET v = 'rr' WHERE k = 1;
COMMIT;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
UPDATE t SET v = 't' || k WHERE k = 1;
RESET default_transaction_isolation;
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
-- @error 25006
UPDATE t SET v = 'no' WHERE k = 1;
BEGIN READ WRITE;
UPDATE t SET v = 'yes' WHERE k = 1;
COMMIT;
-- @error 25006
INSERT INTO t VALUES (100, 'no', 1);
RESET default_transaction_read_only;
SELECT v FROM t WHERE k = 1;
-- Chains keep what the transaction was.
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE t SET v = 'chain 1' WHERE k = 1;
COMMIT AND CHAIN;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
UPDATE t SET v = 'chain 2' WHERE k IN (1, 2, 3, 4);
ROLLBACK AND CHAIN;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
SELECT k, v FROM t WHERE k < 5;
-- @error 22012
SELECT 1 / (k - 1) FROM t;
ROLLBACK AND CHAIN;
SELECT current_setting('transaction_isolation') FROM t WHERE k = 1;
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM t;
COMMIT AND CHAIN;
-- @error 25006
UPDATE t SET v = 'no' WHERE k = 1;
COMMIT AND CHAIN;
SELECT count(*) FROM t;
ROLLBACK;
-- @error 25P01
COMMIT AND CHAIN;
UPDATE t SET v = 't' || k;
-- Blocks that begin or end twice.
BEGIN;
BEGIN;
UPDATE t SET v = 'once' WHERE k = 1;
COMMIT;
COMMIT;
SELECT v FROM t WHERE k = 1;
ABORT;
BEGIN;
UPDATE t SET v = 'aborted' WHERE k = 1;
ABORT;
BEGIN;
UPDATE t SET v = 'ended' WHERE k = 1;
END;
SELECT v FROM t WHERE k = 1;
-- Constraints that are checked later.
BEGIN;
SET CONSTRAINTS u_once DEFERRED;
INSERT INTO u VALUES (1, 1);
SELECT count(*) FROM u WHERE k = 1 AND n = 1;
-- @error 23505
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO u VALUES (1, 1);
DELETE FROM u WHERE k = 1 AND n = 1;
INSERT INTO u VALUES (1, 1);
SET CONSTRAINTS ALL IMMEDIATE;
COMMIT;
SELECT count(*) FROM u;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO u VALUES (2, 2), (3, 3), (4, 4), (5, 5);
-- @error 23505
-- @known single a check at COMMIT names the shard where it lies on the coordinator
COMMIT;
SELECT count(*) FROM u;
BEGIN;
SET CONSTRAINTS u_once DEFERRED;
UPDATE u SET n = n + 20;
UPDATE u SET n = n - 20;
SET CONSTRAINTS u_once IMMEDIATE;
-- @error 23505
INSERT INTO u VALUES (2, 2);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO u VALUES (2, 2);
ROLLBACK TO s;
-- @error 23505
INSERT INTO u VALUES (2, 2);
ROLLBACK;
-- @error 23505
INSERT INTO u VALUES (2, 2);
UPDATE u SET n = n + 20;
UPDATE u SET n = n - 20;
SELECT k, n FROM u;
-- @error 42704
SET CONSTRAINTS nothing DEFERRED;
-- @error 42809
SET CONSTRAINTS p_pkey DEFERRED;
-- @error 23503
INSERT INTO f VALUES (1, 1);
BEGIN;
SET CONSTRAINTS f_p DEFERRED;
INSERT INTO f VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);
INSERT INTO p SELECT i, i FROM generate_series(1, 5) i;
SET CONSTRAINTS f_p IMMEDIATE;
-- @error 23503
INSERT INTO f VALUES (6, 6);
ROLLBACK;
BEGIN;
SET CONSTRAINTS public.f_p, public.u_once DEFERRED;
INSERT INTO f VALUES (1, 1);
SAVEPOINT s;
-- @error 23503
SET CONSTRAINTS f_p IMMEDIATE;
ROLLBACK TO s;
-- @error 23503
-- @known single a check at COMMIT names the shard where it lies on the coordinator
COMMIT;
BEGIN;
SELECT count(*) FROM f WHERE k = 1;
INSERT INTO p VALUES (1, 1), (2, 2);
SET CONSTRAINTS public.f_p, public.u_once DEFERRED;
INSERT INTO f VALUES (1, 1), (2, 3);
SAVEPOINT s;
-- @error 23503
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO s;
UPDATE f SET n = 2 WHERE k = 2;
SET CONSTRAINTS f_p IMMEDIATE;
COMMIT;
SELECT * FROM f;
BEGIN;
SAVEPOINT a;
SET CONSTRAINTS f_p DEFERRED;
RELEASE a;
INSERT INTO f VALUES (7, 7);
DELETE FROM f WHERE k = 7;
COMMIT;
DO $$ BEGIN
    SET CONSTRAINTS ALL DEFERRED;
    INSERT INTO f VALUES (8, 8), (9, 9);
    INSERT INTO p VALUES (8, 8), (9, 9);
END $$;
SELECT * FROM f;
-- @error 23503
DO $$ BEGIN
    BEGIN
        SET CONSTRAINTS ALL DEFERRED;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN NULL; END;
    INSERT INTO f VALUES (10, 10);
END $$;
SET CONSTRAINTS ALL DEFERRED;
-- @error 23503
INSERT INTO f VALUES (10, 10);
-- Ids of transactions.
BEGIN;
SELECT count(DISTINCT pg_current_xact_id()) FROM t;
UPDATE t SET v = 'id' WHERE k = 1;
SELECT txid_current() = pg_current_xact_id()::text::bigint;
SELECT pg_xact_status(pg_current_xact_id());
ROLLBACK;
SELECT count(DISTINCT txid_current()) FROM t;
UPDATE t SET v = 't' || k;
