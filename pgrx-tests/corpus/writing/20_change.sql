UPDATE s SET v = 'one' WHERE k = 1;
UPDATE s SET v = v || '!', n = n + 1 WHERE k IN (2, 3) RETURNING *;
UPDATE s SET n = n * 2 WHERE k > 30;
UPDATE s SET n = DEFAULT, v = NULL WHERE k = 5 RETURNING *;
UPDATE s SET (v, n) = ('pair', 3) WHERE k = 6 RETURNING v, n;
UPDATE s SET (v, n) = (SELECT name, id FROM r WHERE id = 2) WHERE k = 7 RETURNING v, n;
UPDATE s SET n = (SELECT count(*) FROM o WHERE o.k = s.k) WHERE k < 20;
UPDATE s SET n = q.c FROM (SELECT k, count(*) AS c FROM o GROUP BY k) q WHERE q.k = s.k;
UPDATE s SET v = t.v FROM target t WHERE t.k = s.k AND t.n > 10 RETURNING s.k, t.v;
UPDATE s SET v = r.name FROM r WHERE r.id = s.k;
UPDATE s SET v = p.v FROM p WHERE p.k = s.k RETURNING s.*, p.n;
UPDATE s a SET n = b.n FROM s b WHERE b.k = a.k + 1 AND a.k BETWEEN 10 AND 12;
UPDATE s SET v = o.v FROM o WHERE o.id = s.k;
UPDATE s SET n = n + 1 WHERE v = 'pair' OR k = 9;
UPDATE s SET n = 0 WHERE k IN (SELECT k FROM target WHERE v LIKE 's1%');
UPDATE s SET n = 1 WHERE NOT EXISTS (SELECT 1 FROM target WHERE target.k = s.k);
UPDATE s SET n = k % 3, v = CASE WHEN k % 2 = 0 THEN 'even' ELSE v END;
UPDATE s SET n = n WHERE false;
WITH q AS (SELECT k FROM o GROUP BY k HAVING count(*) > 3) UPDATE s SET v = 'cte' FROM q WHERE q.k = s.k RETURNING s.k;
UPDATE ONLY s SET v = 'only' WHERE k = 20;
UPDATE t SET n = n + 1 RETURNING k, n, twice;
UPDATE t SET n = 5, v = DEFAULT WHERE k = 2 RETURNING twice, v;
UPDATE t SET id = DEFAULT WHERE k = 3;
-- @error 428C9
UPDATE t SET twice = 5 WHERE k = 3;
-- @error 23514
UPDATE t SET n = -1 WHERE k = 2;
-- @error 23505
UPDATE t SET v = 'one' WHERE k = 1;
-- @error 23502
UPDATE s SET n = NULL WHERE k > 10;
-- @error 42703
UPDATE s SET nothing = 1;
-- @error 22012
UPDATE s SET n = 10 / (n - n) WHERE k < 20;
UPDATE r SET n = n + 10 WHERE id < 3 RETURNING *;
UPDATE r SET n = (SELECT count(*) FROM s) WHERE name = 'blue' RETURNING n;
UPDATE p SET n = s.n FROM s WHERE s.k = p.k RETURNING p.*;
-- @params 8, 'by parameter'
-- @params NULL, 'none'
-- @params 10, NULL
UPDATE s SET v = $2 WHERE k = $1 RETURNING k, v;
-- @params 3
-- @params 5
UPDATE s SET n = n + $1 WHERE n > $1;
DELETE FROM s WHERE k = 1;
DELETE FROM s WHERE k IN (2, 3) RETURNING *;
DELETE FROM s WHERE v IS NULL RETURNING k;
DELETE FROM s USING target t WHERE t.k = s.k AND t.n % 7 = 0 RETURNING s.k, t.v;
DELETE FROM s USING r WHERE r.id = s.n AND r.name = 'green';
DELETE FROM s WHERE k IN (SELECT id FROM o WHERE v = 'o1');
DELETE FROM s WHERE n = (SELECT min(n) FROM s) RETURNING k;
DELETE FROM target WHERE k > 40000;
-- @params 12
-- @params 13
DELETE FROM s WHERE k = $1 RETURNING *;
WITH d AS (DELETE FROM o WHERE v = 'o2' RETURNING *) INSERT INTO p SELECT k, v, id FROM d;
WITH d AS (DELETE FROM target WHERE k < 20 RETURNING k, v, n) INSERT INTO s SELECT k + 400000, v, coalesce(n, 0) FROM d RETURNING k;
WITH u AS (UPDATE s SET n = n + 1 WHERE k < 25 RETURNING k, n) SELECT count(*), sum(n) FROM u;
WITH i AS (INSERT INTO s (k, v) VALUES (777, 'cte') RETURNING *) SELECT i.*, (SELECT count(*) FROM s WHERE k = 777) AS seen FROM i;
WITH i AS (INSERT INTO r (name) VALUES ('from cte') RETURNING id, name) INSERT INTO s (k, v) SELECT id + 600, name FROM i;
MERGE INTO s USING target t ON s.k = t.k WHEN MATCHED AND t.n > 50 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'merged ' || t.v, n = t.n WHEN NOT MATCHED THEN INSERT VALUES (t.k, t.v, coalesce(t.n, 0));
MERGE INTO s USING (SELECT 777 AS k) q ON s.k = q.k WHEN MATCHED THEN DELETE;
MERGE INTO s USING p ON s.k = p.k AND p.n > 0 WHEN NOT MATCHED AND p.k IS NOT NULL AND p.k > 100000 THEN INSERT (k) VALUES (p.k) WHEN MATCHED THEN DO NOTHING;
MERGE INTO r USING s ON r.id = s.k WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO p USING (SELECT k, count(*) AS c FROM o GROUP BY k) q ON p.k = q.k WHEN MATCHED THEN UPDATE SET n = q.c WHEN NOT MATCHED THEN INSERT VALUES (q.k, 'm', q.c);
INSERT INTO s VALUES (16, 'twice', 1) ON CONFLICT DO NOTHING;
-- @error 21000
MERGE INTO s USING (VALUES (16, 'a'), (16, 'b')) v(k, v) ON s.k = v.k WHEN MATCHED THEN UPDATE SET v = v.v;
DELETE FROM t;
TRUNCATE s;
TRUNCATE target, o RESTART IDENTITY;
INSERT INTO o (v) VALUES ('first again') RETURNING id;
TRUNCATE r;
