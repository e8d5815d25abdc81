-- Sub-queries that run once for each of many rows, of which the rows are kept after some runs.
SELECT k, x, (SELECT count(*) FROM b WHERE b.y < a.x) FROM a;
SELECT k, (SELECT max(b.s) FROM b WHERE b.y = a.x AND b.k > a.k) AS m FROM a;
SELECT k, s FROM a WHERE EXISTS (SELECT 1 FROM c WHERE c.z > a.k) OR a.x = 3;
SELECT k, s FROM a WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.z > a.k AND c.k IS NOT NULL) OR a.x IS NULL;
SELECT k FROM a WHERE x > ANY (SELECT b.y FROM b WHERE b.k <> a.k AND b.s IS DISTINCT FROM a.s) OR k = 1;
SELECT k FROM a WHERE x NOT IN (SELECT c.k FROM c WHERE c.z < a.k) OR k = 1;
SELECT a.k, q.n, q.t FROM a, LATERAL (SELECT count(*) AS n, sum(c.z) AS t FROM c WHERE c.k < a.x) q;
SELECT a.k, q.k FROM a LEFT JOIN LATERAL (SELECT b.k FROM b WHERE b.y > a.x AND b.s < a.s) q ON true;
SELECT k, (SELECT array_agg(c.z ORDER BY c.z) FROM c WHERE c.k BETWEEN a.x AND a.k) FROM a;
-- Whole rows, columns of the table that nothing else needs, and rows of several shards and of one.
SELECT k, (SELECT b FROM b WHERE b.y > a.x ORDER BY b.k, b.y, b.s LIMIT 1) FROM a;
SELECT k, (SELECT count(DISTINCT b.s) FROM b WHERE b.y > a.x) FROM a;
SELECT k, x, (SELECT count(*) FROM skew WHERE skew.k = a.x AND skew.n > a.k) FROM a;
SELECT n, (SELECT count(*) FROM skew t WHERE t.k = s.n AND t.n <> s.k) FROM skew s;
SELECT i, (SELECT count(*) FROM empty WHERE empty.x > i) FROM generate_series(1, 20) i;
-- One within another, with other conditions and with values of the statement beside the outer ones.
SELECT k, (SELECT count(*) FROM b WHERE b.y < a.x AND b.k > (SELECT min(c.k) FROM c WHERE c.z > a.k)) FROM a;
SELECT k, (SELECT count(*) FROM b WHERE b.y < a.x AND (SELECT count(*) FROM c WHERE c.k > b.y) > 30) FROM a;
SELECT k, (SELECT count(*) FROM b WHERE b.y < a.x AND b.k IN (11, 12, 13, 30) AND b.s LIKE 's%') FROM a;
SELECT k, (SELECT count(*) FROM b WHERE b.y < a.x AND b.k > (SELECT avg(x) FROM a)) FROM a;
SELECT k, CASE WHEN x > 4 THEN (SELECT sum(b.y) FROM b WHERE b.k > a.k) ELSE (SELECT sum(c.z) FROM c WHERE c.k > a.k) END FROM a;
-- Scans that bring the same rows in each run: only what is done with them depends on the row around.
SELECT k, x, (SELECT count(*) FROM b WHERE a.x > 4) FROM a;
SELECT k, x, (SELECT count(*) FROM b WHERE a.x > 4 OR b.y = 3) FROM a;
SELECT k FROM a WHERE 3 IN (SELECT (SELECT count(*) FROM c WHERE c.z > 9 AND true IN (SELECT b.y > 2 FROM b WHERE a.x = 3 OR c.k >= a.k)) FROM b);
SELECT k, (SELECT sum(b.y + a.x) FROM b) FROM a;
SELECT k, (SELECT count(*) FROM b, c WHERE b.y + c.k > a.x) FROM a;
SELECT k, ARRAY(SELECT b.y + a.x FROM b ORDER BY b.k DESC, b.y, b.s LIMIT 3) FROM a;
SELECT k, EXISTS (SELECT 1 FROM c WHERE c.z > 2 AND random() < a.x + 2) FROM a;
SELECT k, (SELECT count(*) FROM empty WHERE a.x > 4) FROM a;
SELECT i, (SELECT min(n) FROM (SELECT n FROM skew WHERE n > 290 ORDER BY n OFFSET i LIMIT 1) q) FROM generate_series(0, 12) i;
SELECT a.k, q.s FROM a, LATERAL (SELECT b.s FROM b ORDER BY b.s NULLS FIRST, b.k OFFSET abs(a.x) LIMIT 1) q;
SELECT r.id, (SELECT count(*) FROM l, b WHERE l.id < b.y + r.id) FROM r;
-- Volatile functions run in each of them.
SELECT count(DISTINCT v) > 15 FROM (SELECT i, (SELECT sum(q.r) FROM (SELECT random() AS r FROM b OFFSET 0) q WHERE i > 0) AS v FROM generate_series(1, 20) i) t;
SELECT count(DISTINCT v) > 15 FROM (SELECT i, (SELECT q.r FROM (SELECT random() AS r FROM b WHERE k = 12 LIMIT 1) q WHERE i > 0) AS v FROM generate_series(1, 20) i) t;
SELECT count(DISTINCT v) > 5 FROM (SELECT i, (SELECT b.k FROM b WHERE i > 0 ORDER BY random() LIMIT 1) AS v FROM generate_series(1, 60) i) t;
-- The values within change, but not with each row.
SELECT k, (SELECT sum((SELECT count(*) FROM c WHERE c.k > a.k AND r.id > 1)) FROM r) FROM a;
SELECT k, (SELECT sum((SELECT count(*) FROM c WHERE c.k > r.id - r.id + a.k OFFSET 0)) FROM r WHERE r.id <= a.x) FROM a;
WITH RECURSIVE t(i, n) AS (SELECT 1, 0::bigint UNION ALL SELECT t.i + 1, (SELECT count(*) FROM b WHERE t.i % 2 = 0) FROM t WHERE t.i < (SELECT max(y) FROM b)) SELECT * FROM t;
WITH RECURSIVE t(i) AS (SELECT 1 UNION SELECT b.k FROM t, b WHERE b.y = t.i % 8) SELECT * FROM t;
PREPARE alike(int) AS SELECT k, (SELECT count(*) FROM b WHERE b.k <> $1 AND a.x > 4) FROM a WHERE k <> $1;
EXECUTE alike(11);
EXECUTE alike(12);
EXECUTE alike(13);
EXECUTE alike(14);
EXECUTE alike(15);
EXECUTE alike(16);
EXECUTE alike(17);
DEALLOCATE alike;
-- @error 22012
SELECT k, (SELECT sum(1 / b.y) FROM b WHERE a.x > 4) FROM a;
-- Errors are those of the rows that the conditions let through.
SELECT k, (SELECT sum(10 / b.y) FROM b WHERE b.y > a.k) FROM a;
-- @error 22012
SELECT k, (SELECT sum(10 / b.y) FROM b WHERE b.y < a.k) FROM a;
-- @error 21000
SELECT k, (SELECT b.y FROM b WHERE b.y > a.k) FROM a WHERE k < 12;
-- More rows than are kept.
SELECT i, (SELECT count(*) FROM skew s, skew t WHERE s.n > i AND t.n > s.n AND t.n % 7 = 1) FROM generate_series(1, 15) i;
PREPARE correlated(int) AS SELECT k, (SELECT count(*) FROM b WHERE b.y < a.x AND b.k <> $1) FROM a WHERE k <> $1;
EXECUTE correlated(11);
EXECUTE correlated(12);
EXECUTE correlated(13);
EXECUTE correlated(14);
EXECUTE correlated(15);
EXECUTE correlated(16);
EXECUTE correlated(17);
DEALLOCATE correlated;
-- Queries in WITH to which nothing refers, from the beginning or when constants are folded.
WITH u AS (SELECT c.z FROM c) SELECT k, x FROM a;
WITH u AS (SELECT c.z FROM c) SELECT k, x, 1 + (SELECT sum(z) FROM u) * NULL::numeric FROM a;
WITH u AS (SELECT c.z FROM c), w AS (SELECT z FROM u) SELECT id FROM r WHERE true OR EXISTS (SELECT 1 FROM w);
WITH u AS MATERIALIZED (SELECT lag(a.x) OVER (ORDER BY a.k, a.x, a.s) AS l FROM a) SELECT id, count(*) FROM r WHERE id > 0 OR (false AND id IN (SELECT l FROM u)) GROUP BY id;
WITH RECURSIVE u(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM u WHERE i < (SELECT max(k) FROM c)) SELECT k FROM a WHERE k = 3 AND (x > 0 OR (false AND x IN (SELECT i FROM u)));
SELECT k, (WITH u AS (SELECT 1 / 0 AS n), w AS (SELECT count(*) AS n FROM b WHERE b.y < a.x) SELECT n FROM w) FROM a;
