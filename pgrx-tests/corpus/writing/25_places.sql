INSERT INTO s SELECT i, 's' || i, i * 2 FROM generate_series(1, 40) i;
INSERT INTO r (id, name) VALUES (101, 'red'), (102, 'green'), (103, 'blue');
INSERT INTO target SELECT i, 't' || i, i FROM generate_series(30, 50) i;
UPDATE s SET k = k + 100 WHERE k < 4 RETURNING k, v, n, s;
UPDATE s SET k = s.k + 1000, v = r.name FROM r WHERE r.id = s.k RETURNING s.k, s.v, r.n, (SELECT count(*) FROM target WHERE target.k < s.k);
-- @error 23505
UPDATE s SET k = 10 WHERE k = 11;
UPDATE s SET (v, n) = (SELECT max(target.v), count(*) FROM target WHERE target.k > s.k) WHERE n > (SELECT min(n) FROM s) + 40 RETURNING *;
UPDATE r SET name = name || x.c FROM (SELECT count(*) AS c FROM s) x WHERE r.id = 101 RETURNING r.*, x.c;
DELETE FROM r WHERE random() < 2 AND id = 102 RETURNING name, r;
INSERT INTO s VALUES (10, 'again', 1) ON CONFLICT ON CONSTRAINT s_pkey DO UPDATE SET v = (SELECT name FROM r WHERE id = excluded.n + 102) RETURNING *, s;
WITH d AS (DELETE FROM target WHERE k > 45 RETURNING *), i AS (INSERT INTO s SELECT k + 500, v, n FROM d RETURNING k) SELECT (SELECT count(*) FROM d), (SELECT sum(k) FROM i), (SELECT count(*) FROM target) AS before;
WITH x AS (INSERT INTO r (id, name) VALUES (110, 'unread')) UPDATE s SET n = -1 WHERE k = 12 RETURNING k, n;
WITH d AS (DELETE FROM target WHERE k > 40 RETURNING *), again AS (INSERT INTO target SELECT k + 1000, v, n FROM d RETURNING k) SELECT d.k, again.k FROM d JOIN again ON again.k = d.k + 1000;
-- @params 30
-- @params 31
WITH u AS (UPDATE target SET n = n + $1 WHERE k = $1 RETURNING k, n) SELECT * FROM u WHERE k = $1;
MERGE INTO s USING (SELECT k + 1 AS k, v FROM target) q ON s.k = q.k WHEN MATCHED AND s.k % 2 = 0 THEN UPDATE SET k = s.k + 2000 WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND q.k > 1000 THEN INSERT VALUES (q.k, q.v, 0);
MERGE INTO r USING s ON r.id = s.k WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED AND s.k BETWEEN 5 AND 7 THEN INSERT (id, name) VALUES (s.k, 'merged' || s.k);
CREATE VIEW few AS SELECT k, v, n FROM s WHERE k < 20 WITH CHECK OPTION;
INSERT INTO few VALUES (1, 'one', 1), (2, 'two', 2) RETURNING *;
UPDATE few SET v = 'few' WHERE n < 20 RETURNING k, v;
DELETE FROM few WHERE k = 2;
DROP VIEW few;
DELETE FROM s;
DELETE FROM r;
DELETE FROM target;
