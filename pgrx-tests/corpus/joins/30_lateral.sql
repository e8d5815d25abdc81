-- What LATERAL sub-queries compute from columns of other tables, when joins are not on the key.
SELECT a.*, q.* FROM a LEFT JOIN LATERAL (SELECT b.*, a.x AS outside FROM b) q ON a.x = q.y;
SELECT a.*, q.* FROM a LEFT JOIN LATERAL (SELECT b.*, coalesce(a.x, 42) AS outside FROM b) q ON a.x = q.y;
SELECT a.*, q.* FROM a LEFT JOIN LATERAL (SELECT b.y, a.x + b.y AS outside FROM b WHERE b.y < a.k) q ON a.x = q.y AND q.outside > 2;
SELECT a.k, q.* FROM a LEFT JOIN LATERAL (SELECT coalesce(a) AS whole FROM c WHERE c.k = a.k) q ON true;
SELECT a.k, q.* FROM a LEFT JOIN LATERAL (SELECT a.k AS k, c.id FROM c WHERE c.id = a.x) q ON true;
SELECT a.k, q.* FROM a LEFT JOIN LATERAL (SELECT b1.k AS bk, c1.k AS ck, least(a.k, b1.k, c1.k) FROM b b1 CROSS JOIN c c1 WHERE c1.id < 4) q ON a.x = q.bk;
SELECT a.k, q.* FROM a LEFT JOIN LATERAL (SELECT b1.k AS bk, c1.k AS ck, v.m FROM b b1 CROSS JOIN c c1, LATERAL (SELECT max(n) AS m FROM (VALUES (a.k), (b1.k), (c1.k)) t (n)) v WHERE c1.id < 4) q ON a.x = q.bk;
SELECT l.id, q.* FROM l LEFT JOIN LATERAL (SELECT a.k, l.note AS outside FROM a) q ON l.id = q.k AND false;
SELECT l.id, q.* FROM l LEFT JOIN LATERAL (SELECT a.k, l.id AS outside FROM a WHERE a.x = l.id) q ON q.outside = q.k;
SELECT r.id, q.* FROM r LEFT JOIN LATERAL (SELECT a.k, a.x, r.id AS outside FROM a) q ON r.id = q.x;
SELECT c.id, q.* FROM c LEFT JOIN LATERAL (SELECT a.s, c.k AS outside FROM a WHERE a.k = c.k) q ON q.outside > 3;
SELECT l.id, q.* FROM l LEFT JOIN LATERAL (SELECT k, id, sum(z) AS z FROM c WHERE c.k > l.id GROUP BY k, id) q ON q.id = l.id + 10;
-- Names of columns that a query gives anew, in joins with a name.
SELECT * FROM a x JOIN (c x CROSS JOIN b y (ff, gg)) j ON x.x = j.ff;
SELECT * FROM a x JOIN (c i CROSS JOIN b y (ff, gg)) j ON x.x = j.ff WHERE x.k < 12;
SELECT * FROM ((SELECT k / 2 AS x FROM a) ss1 JOIN c i4 ON ss1.x = i4.k) j, LATERAL (SELECT x) ss2 (y);
SELECT j.* FROM (a t (k1, x1) JOIN c u (i1) ON t.x1 = u.k) AS j (a1, a2, a3, a4) WHERE a1 < 9;
-- Functions that return sets beside aggregates.
SELECT max(k), generate_series(1, 3) AS g FROM a ORDER BY g DESC;
SELECT x, count(*), generate_series(1, 2) AS g FROM a GROUP BY x;
SELECT generate_series(1, count(*)::int) AS g FROM a WHERE k < 3;
SELECT unnest(array_agg(k ORDER BY k)) FROM a WHERE k < 5;
SELECT x, generate_series(min(k), min(k) + 1) FROM a GROUP BY x HAVING count(*) > 3;
SELECT DISTINCT generate_series(1, max(x)) % 4 FROM a;
SELECT sum(k), generate_series(1, 3) AS g FROM a LIMIT 2 OFFSET 1;
-- Names of fields of rows.
SELECT row_to_json(x.*), to_jsonb(x) FROM a JOIN b USING (k) AS x WHERE a.k = 12;
SELECT row_to_json(j) FROM (a JOIN b USING (k)) AS j WHERE j.k = 13;
SELECT row_to_json(q), to_jsonb(q.*) FROM (SELECT k, x AS named FROM a WHERE k < 3) q;
SELECT row_to_json(row(k, x)) FROM a WHERE k < 3;

-- Samples of tables in LATERAL sub-queries, of a size that another table's columns tell.
SELECT count(*) FROM l, LATERAL (SELECT k FROM a TABLESAMPLE SYSTEM (100)) s;
SELECT l.id, s.x FROM l JOIN LATERAL (SELECT k, x FROM a TABLESAMPLE BERNOULLI (100) WHERE x > 2) s ON s.k = l.id;
SELECT b.k, count(s.k) FROM b LEFT JOIN LATERAL (SELECT k FROM a TABLESAMPLE SYSTEM (100) WHERE a.k = b.y) s ON true GROUP BY b.k;
SELECT l.id, count(s.k) FROM l, LATERAL (SELECT k FROM a TABLESAMPLE SYSTEM (CASE WHEN l.id > 4 THEN 100 ELSE 0 END)) s GROUP BY l.id;
