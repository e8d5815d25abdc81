INSERT INTO bulk (k, v, m, arr, j, s) SELECT i, E'row\t' || i || E'\\ "x" \n', (ARRAY['sad', 'fine', 'glad'])[i % 3 + 1]::mood, ARRAY['a,' || i, NULL, '{'], jsonb_build_object('i', i), i % 100 FROM generate_series(1, 3000) i;
SELECT count(*), count(DISTINCT v), sum(half), sum(s), min(at), max(at) FROM bulk;
INSERT INTO bulk (v, k) SELECT v || 'again', k + 10000 FROM bulk;
SELECT count(*), count(DISTINCT v), sum(half), min(m), min(at), max(at) FROM bulk;
INSERT INTO wide SELECT i::bigint * 1000000007, repeat('wide ', i % 20), i / 7.0::float8, decode(lpad(to_hex(i), 8, '0'), 'hex'), i / 3.0, date '2000-01-01' + i FROM generate_series(1, 4000) i;
INSERT INTO wide SELECT k + 1, nullif(txt, ''), nullif(f, 0), nullif(b, ''), -n, d FROM wide ORDER BY k LIMIT 3000;
SELECT count(*), count(txt), sum(length(txt)), round(sum(f)::numeric, 6), sum(n), min(d), max(d), md5(string_agg(b::text, ',' ORDER BY k)) FROM wide;
-- @error 23505
INSERT INTO bulk (v, k) SELECT v, CASE WHEN k = 2990 THEN 2989 ELSE k + 20000 END FROM (SELECT 'last' AS v, k FROM bulk WHERE k < 3000 UNION ALL SELECT E'row\t2989\\ "x" \n', 2990 UNION ALL SELECT v, k FROM bulk) q;
-- @error 23514
INSERT INTO bulk (v, k) SELECT CASE WHEN k = 2999 THEN 'forbidden' ELSE v END, k + 30000 FROM bulk;
-- @error 23514
INSERT INTO bulk (v, k, s) SELECT v, k + 30000, k / 20 FROM bulk WHERE k <= 3000;
-- @error 23502
INSERT INTO bulk (v, k) SELECT v, nullif(k + 30000, 32999) FROM bulk;
-- @error 22012
INSERT INTO bulk (v, k) SELECT v, k + 30000 + 1 / (k - 2998) FROM bulk ORDER BY k;
INSERT INTO tree SELECT k % 5, k, CASE WHEN k <= 5 THEN NULL ELSE k - 5 END FROM generate_series(1, 9000) k;
-- @error 23503
INSERT INTO tree SELECT k % 5 + 10, k, CASE WHEN k <= 5 THEN NULL WHEN k = 8995 THEN 7 ELSE k - 5 END FROM generate_series(1, 9000) k;
INSERT INTO rbulk SELECT k, v FROM bulk WHERE k < 3000;
-- @error 23505
INSERT INTO rbulk SELECT k, v FROM bulk WHERE k BETWEEN 1000 AND 12000;
INSERT INTO rbulk SELECT id + 100000, 'r' || name FROM rbulk;
BEGIN;
INSERT INTO bulk (v, k) SELECT 'block', k + 50000 FROM bulk;
SELECT count(*), sum(half) FROM bulk WHERE v = 'block';
SAVEPOINT s;
-- @error 23505
INSERT INTO bulk (v, k) SELECT 'block', k + 50000 FROM bulk WHERE v <> 'block';
ROLLBACK TO s;
INSERT INTO bulk (v, k) SELECT 'more', k + 100 FROM bulk WHERE v = 'block';
UPDATE bulk SET m = 'glad' WHERE v = 'more';
SELECT v, m, count(*), sum(half) FROM bulk WHERE v IN ('block', 'more') GROUP BY v, m;
COMMIT;
DELETE FROM bulk WHERE v IN ('block', 'more');
DO $$ BEGIN
    INSERT INTO bulk (v, k) SELECT 'inner', k + 60000 FROM bulk;
    BEGIN
        INSERT INTO bulk (v, k) SELECT 'second', k / (k - 3000) FROM bulk ORDER BY k;
    EXCEPTION WHEN division_by_zero THEN
        INSERT INTO bulk (v, k) SELECT 'caught', k + 70000 FROM bulk WHERE v <> 'inner';
    END;
END $$;
SELECT v, count(*), sum(half) FROM bulk WHERE v IN ('inner', 'second', 'caught') GROUP BY v;
WITH more AS (INSERT INTO bulk (v, k) SELECT 'with', k + 80000 FROM bulk WHERE v LIKE 'row%' RETURNING k) SELECT count(*), (SELECT count(*) FROM bulk WHERE v = 'with') FROM more;
