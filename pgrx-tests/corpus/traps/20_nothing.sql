-- What a constant rules out gives no rows: branches of UNION ALL, sides of joins, tables of views.
SELECT f.c FROM (SELECT 17 AS c FROM w UNION ALL SELECT lead(k, 2) OVER (ORDER BY k) FROM w2) f WHERE f.c BETWEEN 0 AND 6 OR f.c = 13;
SELECT f.c, f.s FROM (SELECT 1 AS s, k AS c FROM w UNION ALL SELECT 2, lead(k, 2) OVER (ORDER BY k) FROM w2 UNION ALL SELECT 3, id FROM ref) f WHERE f.s > 1 AND f.c < 24;
SELECT f.c, f.s FROM (SELECT 1 AS s, k AS c FROM w UNION ALL SELECT 2, lead(k, 2) OVER (ORDER BY k) FROM w2 UNION ALL SELECT 3, id FROM ref) f WHERE f.s = 1 AND f.c < 4;
SELECT count(*), sum(f.c) FROM (SELECT NULL::int AS c, k FROM w UNION ALL SELECT row_number() OVER (ORDER BY k), k FROM w2) f WHERE f.c > 3;
CREATE VIEW either AS SELECT 'w' AS of, k, n FROM w UNION ALL SELECT 'w2', k, (dense_rank() OVER (ORDER BY n))::int FROM w2 UNION ALL SELECT 'ref', id, NULL FROM ref;
SELECT * FROM either WHERE of = 'w' AND k < 5;
SELECT * FROM either WHERE of = 'w2';
SELECT of, count(*) FROM either WHERE of <> 'w' GROUP BY of;
SELECT * FROM either e JOIN ref ON ref.id = e.k WHERE e.of = 'ref';
SELECT e.k, x.k FROM either e LEFT JOIN either x ON x.k = e.k AND x.of = 'none' WHERE e.of = 'w' AND e.k < 4;
SELECT count(*) FROM either WHERE of = 'nothing';
-- @params 'w', 3
-- @params 'w2', 30
-- @params 'none', 1
SELECT * FROM either WHERE of = $1::text AND k < $2::int;
DROP VIEW either;
SELECT v.k, f.c FROM (VALUES (1), (2)) v (k) LEFT JOIN LATERAL (SELECT 17 AS c FROM w UNION ALL SELECT lead(k, 2) OVER (ORDER BY k) FROM w2 WHERE k > v.k) f ON true WHERE f.c < 6 OR f.c = 13;
SELECT (SELECT count(*) FROM (SELECT false AS b FROM w UNION ALL SELECT rank() OVER (ORDER BY n) > 3 FROM w2) q WHERE b OR ref.id IS NULL) FROM ref;
UPDATE w SET n = n + 100 WHERE k IN (SELECT f.c FROM (SELECT 17 AS c FROM w UNION ALL SELECT lead(k, 2) OVER (ORDER BY k) FROM w2) f WHERE f.c < 17);
UPDATE w SET n = 50 FROM (SELECT 5 AS c, k FROM w2 UNION ALL SELECT row_number() OVER (ORDER BY k), k FROM w2) f WHERE f.c = 6 AND w.k = f.c RETURNING w.k, f.k;
DELETE FROM w USING (SELECT 5 AS c FROM w2 UNION ALL SELECT row_number() OVER (ORDER BY k) FROM w2) f WHERE f.c = 7 AND w.k = f.c RETURNING *;
