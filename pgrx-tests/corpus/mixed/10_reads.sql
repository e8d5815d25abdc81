SELECT * FROM big;
SELECT count(*), sum(val), md5(string_agg(txt, ',' ORDER BY k, id)) FROM big;
-- @ordered
SELECT k, id, txt FROM big ORDER BY txt, id DESC LIMIT 1000 OFFSET 500;
-- @ordered
SELECT * FROM big ORDER BY ts DESC LIMIT 50;
SELECT grp, count(*), avg(val), min(ts), max(txt) FROM big GROUP BY grp;
SELECT id, count(*) FROM big GROUP BY id HAVING count(*) > 1;
SELECT b.k, count(*), sum(o.n), count(DISTINCT b.grp) FROM big b JOIN other o ON b.k = o.k GROUP BY b.k;
SELECT d.label, count(*), sum(b.val) FROM big b JOIN dim d USING (grp) JOIN other o ON o.k = b.k WHERE o.n = 3 GROUP BY d.label;
SELECT d.label, p.label, count(b.id) FROM dim d LEFT JOIN dim p ON p.grp = d.parent LEFT JOIN big b ON b.grp = d.grp AND b.k = 5 GROUP BY 1, 2;
SELECT a.name, count(*) FROM apart a JOIN big b ON b.id = a.id GROUP BY a.name;
SELECT a.grp, sum(b.val) FROM apart a JOIN big b ON b.grp = a.grp AND b.k < 4 GROUP BY a.grp;
SELECT l.grp, l.w, count(b.id) FROM loc l LEFT JOIN big b ON b.grp = l.grp GROUP BY l.grp, l.w;
SELECT b.grp, sum(b.val * l.w) FROM big b JOIN loc l USING (grp) JOIN dim d USING (grp) GROUP BY b.grp;
SELECT k, sum(val) AS s, rank() OVER (ORDER BY sum(val) DESC) FROM big GROUP BY k HAVING sum(val) > (SELECT avg(x) FROM (SELECT sum(val) AS x FROM big GROUP BY k) q);
-- @ordered
SELECT * FROM (SELECT k, id, val, row_number() OVER (PARTITION BY k ORDER BY val DESC, id) AS rn FROM big) q WHERE rn <= 2 ORDER BY k, rn;
SELECT k, id, sum(val) OVER (PARTITION BY grp ORDER BY id), lag(txt, 1, '-') OVER w FROM big WINDOW w AS (PARTITION BY k ORDER BY id);
SELECT grp, t, count(*) FROM big, unnest(tags) t GROUP BY grp, t;
SELECT doc->'b'->>'c' AS c, sum((doc->>'a')::int) FROM big GROUP BY 1;
SELECT count(*) FROM big WHERE doc @? '$.b.c ? (@ > 3)';
SELECT key, count(*) FROM big, jsonb_each(doc) GROUP BY key;
SELECT x.k, x.m FROM (SELECT k, max(id) AS m FROM big GROUP BY k) x JOIN (SELECT k, count(*) AS c FROM other GROUP BY k) y USING (k) WHERE y.c > 5;
SELECT b.id FROM big b WHERE b.val = (SELECT max(val) FROM big b2 WHERE b2.k = b.k);
SELECT b.id FROM big b WHERE b.val > (SELECT avg(val) * 1.9 FROM big b2 WHERE b2.grp = b.grp);
SELECT count(*) FROM big b WHERE EXISTS (SELECT 1 FROM other o WHERE o.k = b.k AND o.n > b.grp) AND NOT EXISTS (SELECT 1 FROM apart a WHERE a.id = b.id);
SELECT count(*) FROM big WHERE (k, grp) IN (SELECT k, n FROM other);
SELECT count(*) FROM big WHERE grp IN (SELECT grp FROM apart WHERE id < 5) OR k = 3;
SELECT d.grp, q.id, q.val FROM dim d CROSS JOIN LATERAL (SELECT id, val FROM big b WHERE b.grp = d.grp ORDER BY val DESC, id LIMIT 2) q;
SELECT b.k, q.c FROM (SELECT DISTINCT k FROM big) b LEFT JOIN LATERAL (SELECT count(*) AS c FROM other o WHERE o.k = b.k AND o.n < 4) q ON true;
WITH per AS (SELECT k, sum(val) AS s FROM big GROUP BY k), top AS (SELECT k FROM per ORDER BY s DESC, k LIMIT 5) SELECT o.k, count(*) FROM other o JOIN top USING (k) GROUP BY o.k;
WITH RECURSIVE tree AS (SELECT grp, label, 0 AS d FROM dim WHERE parent IS NULL UNION ALL SELECT c.grp, c.label, d + 1 FROM dim c JOIN tree t ON c.parent = t.grp AND c.grp <> t.grp)
SELECT t.d, count(b.id) FROM tree t JOIN big b ON b.grp = t.grp GROUP BY t.d;
WITH RECURSIVE hop AS (SELECT id, grp, 1 AS n FROM apart WHERE id = 1 UNION SELECT a.id, a.grp, n + 1 FROM apart a JOIN hop h ON a.id = h.id + 13 WHERE n < 8) SELECT * FROM hop;
SELECT k FROM big WHERE grp = 1 EXCEPT SELECT k FROM other WHERE n = 1;
SELECT grp FROM big INTERSECT SELECT grp FROM apart WHERE id < 6 UNION SELECT grp FROM loc;
-- @ordered
SELECT grp, count(*) AS c FROM big GROUP BY grp UNION ALL SELECT -1, count(*) FROM other ORDER BY 2 DESC, 1;
SELECT grp, k % 2 AS p, count(*), sum(val), grouping(grp, k % 2) FROM big GROUP BY CUBE (grp, k % 2) HAVING count(*) > 100;
SELECT count(DISTINCT txt), count(DISTINCT k), sum(DISTINCT val), count(DISTINCT (k, grp)) FROM big;
SELECT k, string_agg(DISTINCT txt, ',' ORDER BY txt) FROM big WHERE id < 300 GROUP BY k;
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY val), percentile_cont(0.9) WITHIN GROUP (ORDER BY val::float8) FROM big;
-- @ordered
SELECT DISTINCT ON (grp) grp, id, val FROM big ORDER BY grp, val DESC, id;
-- @rows
SELECT * FROM big WHERE grp = 4 LIMIT 7;
SELECT max(id) FILTER (WHERE grp = 2) - min(id) FILTER (WHERE grp = 3), bool_or(val > 3000), array_length(array_agg(id), 1) FROM big;
SELECT CASE WHEN val > 2000 THEN 'high' WHEN val > 1000 THEN 'mid' ELSE 'low' END AS band, count(*), round(avg(val), 4) FROM big GROUP BY band;
SELECT coalesce(o.k, b.k), count(*) FROM (SELECT k FROM other WHERE k > 90) o FULL JOIN (SELECT DISTINCT k FROM big WHERE k > 85) b ON o.k = b.k GROUP BY 1;
SELECT b.k, o.k FROM (SELECT DISTINCT k FROM big) b RIGHT JOIN (SELECT DISTINCT k FROM other) o ON o.k = b.k WHERE b.k IS NULL;
SELECT count(*) FROM big b1 JOIN big b2 ON b1.k = b2.k AND b1.id = b2.id + 97;
SELECT count(*) FROM big b JOIN other o ON o.k = b.k JOIN apart a ON a.id = b.id JOIN dim d ON d.grp = a.grp LEFT JOIN loc l ON l.grp = d.grp;
SELECT (SELECT count(*) FROM big WHERE grp = d.grp) AS c, (SELECT label FROM dim p WHERE p.grp = d.parent) AS up FROM dim d;
SELECT k, (SELECT string_agg(note, ',' ORDER BY note) FROM (SELECT DISTINCT note FROM other o WHERE o.k = b.k AND n < 2) q) FROM (SELECT DISTINCT k FROM big WHERE k < 20) b;
SELECT to_char(ts, 'YYYY-MM') AS m, count(*) FROM big GROUP BY m;
SELECT width_bucket(val, 0, 3500, 7) AS w, count(*) FROM big GROUP BY w;
SELECT generate_series(1, 2) AS g, count(*) FROM big GROUP BY g;
SELECT k, generate_series(1, grp) FROM big WHERE id < 30;
SELECT b.* FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['x', 'y'])) AS f(i, s) JOIN big b ON b.k = f.i AND b.id < 200;
SELECT sum(x) FROM (SELECT val AS x FROM big WHERE k = 4 UNION ALL SELECT n FROM other WHERE k = 4 UNION ALL SELECT w FROM loc) u;
-- @params 5, 3
-- @params 6, 4
-- @params 7, 5
-- @params 8, 6
-- @params 9, 7
-- @params 10, 8
-- @params NULL, 8
SELECT b.k, count(*), sum(o.n) FROM big b JOIN other o USING (k) WHERE b.k = $1 AND b.grp < $2 GROUP BY b.k;
-- @params 3, 'text 3'
-- @params 4, 'text 4'
-- @params 5, NULL
-- @params 6, 'text 6'
-- @params 7, 'text 7'
-- @params 8, 'text 8'
SELECT grp, count(*), max(val) FROM big WHERE grp >= $1 AND txt > $2 GROUP BY grp;
-- @params '{1,2,3}', 2
-- @params '{4,NULL}', 3
SELECT k, id FROM big WHERE k = ANY ($1::int[]) AND grp = $2;
-- @params 10
-- @params 20
SELECT count(*) FROM (SELECT k FROM big ORDER BY id LIMIT $1) q;
