-- COLLATE in what is sent to the nodes: of columns of types that are cast to text, too, and below joins.
SELECT k FROM cl WHERE v COLLATE nocase = 'ABC';
SELECT k FROM cl WHERE t COLLATE nocase = 'ABC';
SELECT k FROM cl WHERE b COLLATE nocase = 'ABC';
SELECT k FROM cl WHERE n COLLATE nocase = 'ABC';
SELECT k FROM cl WHERE n::text COLLATE nocase = 'ABC';
SELECT k FROM cl WHERE 'ABC' COLLATE nocase = v;
SELECT k FROM cl WHERE t = 'ABC' COLLATE nocase;
SELECT k FROM cl WHERE v COLLATE "en-US-x-icu" < 'B';
SELECT k FROM cl WHERE v COLLATE "en-US-x-icu" BETWEEN 'a' AND 'B';
SELECT k FROM cl WHERE v COLLATE nocase = ANY (ARRAY['ABC', 'X']);
SELECT k FROM cl WHERE v COLLATE nocase IN ('ABC', 'X');
SELECT k FROM cl WHERE v COLLATE nocase <> ALL (ARRAY['ABC', 'X']);
SELECT k FROM cl WHERE v COLLATE nocase IS DISTINCT FROM 'ABC';
SELECT k FROM cl WHERE NULLIF(v COLLATE nocase, 'ABC') IS NULL;
SELECT k FROM cl WHERE (t COLLATE "en-US-x-icu", k) > ('abb', 0);
SELECT k FROM cl WHERE (v COLLATE "en-US-x-icu", k) > ('abb', 0);
SELECT k FROM cl WHERE CASE v COLLATE nocase WHEN 'ABC' THEN true ELSE k > 8 END;
SELECT k FROM cl WHERE CASE v WHEN 'ABC' COLLATE nocase THEN true ELSE k > 8 END;
SELECT k FROM cl WHERE strpos(v COLLATE "C", 'B') > 0;
SELECT max(v COLLATE "en-US-x-icu"), min(v COLLATE "en-US-x-icu"), max(b COLLATE "en-US-x-icu") FROM cl;
SELECT k % 3, max(v COLLATE "en-US-x-icu") FROM cl GROUP BY 1;
SELECT greatest(v COLLATE "en-US-x-icu", 'B') FROM cl;
SELECT count(*) FROM cl GROUP BY v COLLATE nocase;
SELECT count(*) FROM (SELECT DISTINCT v COLLATE nocase FROM cl) q;
-- @ordered
SELECT v FROM cl ORDER BY v COLLATE "en-US-x-icu", k;
-- @ordered
SELECT v FROM cl ORDER BY v COLLATE "en-US-x-icu" DESC, k LIMIT 4;
-- @ordered
SELECT k, rank() OVER (PARTITION BY k % 2 ORDER BY v COLLATE "en-US-x-icu") FROM cl ORDER BY 1;
-- @params 'ABC'
-- @params 'x'
SELECT k FROM cl WHERE v COLLATE nocase = $1;
-- @params 'ABC'
SELECT k FROM cl WHERE v = $1 COLLATE nocase;
-- Conditions that PostgreSQL's planner has folded once more.
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.t COLLATE nocase = 'ABC';
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.v COLLATE nocase = 'ABC';
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.t COLLATE "en-US-x-icu" < 'B';
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.t < 'B' COLLATE "en-US-x-icu";
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.v COLLATE nocase = ANY (ARRAY['ABC', 'x']);
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.v COLLATE nocase <> ALL (ARRAY['ABC', 'x']);
SELECT a.k, b.id FROM cl a LEFT JOIN cr b ON a.k = b.k AND b.v COLLATE nocase = 'abc';
SELECT a.k, b.id FROM cl a JOIN cr b ON a.v COLLATE nocase = upper(b.v);
SELECT a.k, b.id FROM cl a JOIN cr b ON a.t COLLATE nocase = b.t;
SELECT a.k, b.id FROM cl a JOIN cl b2 ON a.k = b2.k JOIN cr b ON a.v COLLATE nocase = b.v COLLATE nocase WHERE b.v = 'abc';
SELECT a.k FROM cl a WHERE EXISTS (SELECT 1 FROM cr b WHERE b.v COLLATE nocase = a.v);
SELECT a.k FROM cl a WHERE a.v COLLATE nocase IN (SELECT v FROM cr);
SELECT a.k, (SELECT count(*) FROM cr b WHERE b.t COLLATE "en-US-x-icu" < a.t) FROM cl a;
SELECT a.k, l.id FROM cl a, LATERAL (SELECT id FROM cr b WHERE b.v COLLATE "en-US-x-icu" > a.v ORDER BY b.v COLLATE "en-US-x-icu", id LIMIT 1) l;
-- COLLATE of a column's own collation decides over what it is compared with; so does that of constants.
SELECT k FROM cl WHERE t COLLATE "default" < e;
SELECT k FROM cl WHERE e COLLATE "default" < 'B';
SELECT k FROM cl WHERE e < 'B';
SELECT k FROM cl WHERE t COLLATE "default" < upper(e);
SELECT k FROM cl WHERE e < upper('b' COLLATE "C");
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.t COLLATE "default" < a.e;
SELECT a.k, b.id FROM cl a JOIN cr b USING (k) WHERE a.e < 'B' AND b.e < 'Z';
SELECT a.k, b.id FROM cl a JOIN cr b ON a.e = b.e WHERE a.e > 'B';
SELECT q.u, count(*) FROM (SELECT upper(v COLLATE "en-US-x-icu") AS u, t FROM cl) q WHERE q.u = q.t COLLATE nocase GROUP BY 1;
SELECT b.id FROM (SELECT k, upper(v COLLATE "en-US-x-icu") AS u, t FROM cl) q JOIN cr b USING (k) WHERE q.u = q.t COLLATE nocase;
-- Writing.
UPDATE cl SET v = 'y' WHERE v COLLATE nocase = 'x' RETURNING k;
UPDATE cl SET t = v COLLATE "en-US-x-icu" WHERE v COLLATE "en-US-x-icu" < 'B';
UPDATE cl SET t = b.t FROM cr b WHERE cl.v COLLATE nocase = b.v AND b.id = 3;
DELETE FROM cr WHERE v COLLATE nocase = 'ABC';
DELETE FROM cl USING cr WHERE cl.v COLLATE nocase = upper(cr.v);
SELECT * FROM cl;
