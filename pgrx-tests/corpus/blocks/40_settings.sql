-- Settings reach the shards, and go with the transaction or savepoint that set them.
SELECT DISTINCT current_setting('TimeZone') FROM t;
SET TimeZone = 'Asia/Tokyo';
SELECT DISTINCT current_setting('TimeZone') || timestamptz '2024-01-01 00:00+00' FROM t WHERE n > 0;
BEGIN;
SET LOCAL TimeZone = 'America/New_York';
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
SAVEPOINT s;
SET LOCAL TimeZone = 'Europe/Paris';
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
SET TimeZone = 'Asia/Kolkata';
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
ROLLBACK TO s;
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
SELECT DISTINCT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k + n > 0;
COMMIT;
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
RESET TimeZone;
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
-- Settings of the application, read in each shard.
SET app.who = 'alice';
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
BEGIN;
SET LOCAL app.who = 'it''s "bob"; \';
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
UPDATE t SET v = current_setting('app.who') WHERE k IN (1, 2, 3, 4);
SAVEPOINT s;
SET LOCAL app.who = 'carol';
UPDATE t SET v = current_setting('app.who') WHERE k IN (1, 2);
RELEASE s;
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
ROLLBACK;
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
SELECT k, v FROM t WHERE k < 4;
SET app.other = 'x';
SELECT DISTINCT current_setting('app.other', true) FROM t WHERE n = k;
RESET ALL;
SET statement_timeout = '60s';
SELECT DISTINCT current_setting('app.other', true) FROM t WHERE n = k;
SELECT set_config('app.who', 'dave', true) || current_setting('app.who') FROM t WHERE k = 1;
BEGIN;
SELECT set_config('app.who', 'erin', true);
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
COMMIT;
SELECT DISTINCT current_setting('app.who') FROM t WHERE n = k;
-- SET within functions and blocks.
CREATE FUNCTION tokyo() RETURNS TEXT LANGUAGE plpgsql SET TimeZone = 'Asia/Tokyo' AS $$
BEGIN RETURN (SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1); END $$;
SELECT tokyo();
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
BEGIN;
SELECT tokyo();
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
SET LOCAL TimeZone = 'Europe/Paris';
SELECT tokyo();
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
COMMIT;
CREATE FUNCTION with_setting() RETURNS TEXT LANGUAGE plpgsql SET app.inside = 'yes' AS $$
BEGIN RETURN (SELECT string_agg(DISTINCT current_setting('app.inside', true), ',') FROM t); END $$;
SELECT with_setting();
SELECT DISTINCT current_setting('app.inside', true) FROM t WHERE n = k;
DO $$ BEGIN
    SET LOCAL TimeZone = 'Asia/Tokyo';
    UPDATE t SET v = '2024-01-01 00:00+00'::timestamptz::text WHERE k = 1;
    BEGIN
        SET LOCAL TimeZone = 'Europe/Paris';
        UPDATE t SET v = '2024-01-01 00:00+00'::timestamptz::text WHERE k = 2;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        UPDATE t SET v = '2024-01-01 00:00+00'::timestamptz::text WHERE k = 3;
    END;
END $$;
SELECT k, v FROM t WHERE k < 4;
SELECT '2024-01-01 00:00+00'::timestamptz::text FROM t WHERE k = 1;
UPDATE t SET v = 't' || k;
-- A setting without a fitting value.
-- @error 22023
SET TimeZone = 'nowhere';
SELECT count(*) FROM t;
BEGIN;
-- @error 22023
SET LOCAL work_mem = '-5MB';
ROLLBACK;
SELECT count(*) FROM t;
SET work_mem = '3MB';
SELECT DISTINCT current_setting('work_mem') FROM t WHERE n = k;
RESET work_mem;
SET search_path = pg_catalog;
-- @error 42P01
SELECT count(*) FROM t;
SELECT count(*) FROM public.t;
-- The path of functions that look nowhere.
SET search_path = '';
SELECT count(*), sum(n) FROM public.t;
UPDATE public.t SET v = pg_catalog.upper(v) WHERE k = 3;
-- @error 42P01
SELECT count(*) FROM t;
SET search_path = '', public;
SELECT v FROM t WHERE k = 3;
UPDATE t SET v = 't3' WHERE k = 3;
SET search_path = nowhere, public;
SELECT count(*) FROM t;
RESET search_path;
SET DateStyle = 'SQL, DMY';
SELECT DISTINCT ('2024-02-01'::date + n - k)::text FROM t;
RESET DateStyle;
-- @tag
DISCARD PLANS;
-- @tag
DISCARD SEQUENCES;
SET TimeZone = 'Asia/Tokyo';
SET app.who = 'frank';
-- @tag
DISCARD ALL;
SET statement_timeout = '60s';
SELECT DISTINCT current_setting('TimeZone'), current_setting('app.who', true) FROM t WHERE n = k;
BEGIN;
-- @error 25001
DISCARD ALL;
ROLLBACK;
-- Roles.
BEGIN;
SELECT count(*) FROM t;
SET LOCAL ROLE postgres;
UPDATE t SET v = 'role' WHERE k = 1;
SELECT current_user FROM t WHERE k = 1;
RESET ROLE;
ROLLBACK;
-- Limits of time.
SET statement_timeout = '500ms';
-- @error 57014
SELECT count(pg_sleep(5)) FROM t;
-- @error 57014
UPDATE t SET n = n + length(pg_sleep(5)::text) WHERE k = 1;
SET statement_timeout = '60s';
SELECT sum(n) FROM t;
BEGIN;
SET LOCAL lock_timeout = '1s';
UPDATE t SET v = 'locked' WHERE k = 1;
SELECT DISTINCT current_setting('lock_timeout') FROM t WHERE n = k;
ROLLBACK;
SELECT DISTINCT current_setting('lock_timeout') FROM t WHERE n = k;
BEGIN;
SET LOCAL idle_in_transaction_session_timeout = '10min';
UPDATE t SET v = 'idle' WHERE k = 1;
ROLLBACK;
