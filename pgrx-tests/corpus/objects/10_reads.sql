SELECT k, ROW(k, v)::pt FROM t;
SELECT ROW(k, v)::pt AS p, count(*) FROM t GROUP BY 1;
SELECT ROW(ROW(k, v), '{ok}')::cell FROM t WHERE k = 3;
SELECT (ROW(k, v)::pt).y FROM t;
SELECT array_agg(ROW(k, v)::pt ORDER BY k, id) FROM t WHERE k < 4;
SELECT ROW(k, v)::pt = ROW(3, 'v3')::pt FROM t WHERE k = 3;
SELECT count(*) FROM t WHERE ROW(k, v)::pt IN (ROW(3, 'v3')::pt, ROW(4, 'ok')::pt);
SELECT coalesce(NULL::pt, ROW(k, v)::pt) FROM t;
SELECT jsonb_populate_record(NULL::pt, j) FROM t;
SELECT (jsonb_populate_record(NULL::pt, j)).* FROM t WHERE k = 5;
SELECT x.* FROM t, jsonb_populate_record(NULL::pt, j) x;
SELECT x.* FROM t, jsonb_to_record(j) AS x(x INT, y plain);
SELECT p.y, count(*) FROM t, LATERAL (SELECT (ROW(t.k, t.v)::pt).*) p GROUP BY 1;
SELECT k, 'sad'::mood FROM t;
SELECT k, 'sad'::mood FROM t WHERE k = 3;
SELECT 'sad'::mood, count(*) FROM t GROUP BY 1;
SELECT NULL::mood, k FROM t WHERE k = 4;
SELECT max('sad'::mood), count(*) FROM t;
SELECT DISTINCT 'ok'::mood FROM t;
SELECT CASE WHEN v = 'v1' THEN 'sad'::mood ELSE 'ok' END AS m, count(*) FROM t GROUP BY 1;
SELECT k, max(CASE WHEN v = 'v1' THEN 'sad'::mood ELSE 'ok' END) FROM t GROUP BY k;
SELECT count(*) FROM t JOIN u USING (k) WHERE CASE WHEN t.v = 'v1' THEN 'sad'::mood ELSE 'ok' END = 'sad';
-- @error 22P02
SELECT v::mood FROM t;
SELECT v::mood FROM t WHERE v = 'ok';
SELECT felt(v), count(*) FROM t GROUP BY 1;
SELECT felt('v9'), k FROM t WHERE k = 3;
SELECT count(*) FROM t WHERE felt(v) = 'ok';
SELECT count(*) FROM t WHERE felt('v1') = 'sad' AND k = 7;
SELECT m, count(*) FROM t, unnest(enum_range(NULL::mood)) m WHERE t.v = m::text GROUP BY m;
SELECT enum_range('ok'::mood) FROM t WHERE k = 3;
SELECT ARRAY['ok', 'sad']::mood[] FROM t WHERE k = 3;
SELECT count(*) FROM t WHERE 'ok' = ANY(ARRAY['ok', 'sad']::mood[]) AND k < 5;
SELECT x, count(*) FROM (SELECT k, 'ok'::mood x FROM t UNION SELECT k, 'sad' FROM u) q GROUP BY x;
SELECT (SELECT 'ok'::mood FROM u WHERE u.k = t.k LIMIT 1) FROM t WHERE k = 3;
SELECT k::positive FROM t WHERE k > 0;
-- @error 23514
SELECT k::positive FROM t;
SELECT sum(k::positive), min(k::positive), avg(k::positive) FROM t WHERE k > 0;
SELECT count(*) FROM t WHERE k > 0 AND k::positive > 3;
SELECT k::positive, count(*) FROM t WHERE k > 0 GROUP BY k::positive;
SELECT array_agg(DISTINCT k::positive) FROM t WHERE k BETWEEN 1 AND 4;
SELECT pg_typeof(k::positive) FROM t WHERE k = 2;
SELECT v::plain, count(*) FROM t GROUP BY 1;
WITH q AS MATERIALIZED (SELECT k, v::plain FROM t) SELECT count(*) FROM q JOIN u USING (k);
SELECT span(n, n + 5) FROM t;
SELECT count(*) FROM t WHERE n <@ span(3, 6);
SELECT count(*) FROM t WHERE n <@ '[3,6)'::span;
SELECT span_multirange(span(n, n + 2)) FROM t WHERE k = 4;
SELECT v COLLATE bytes AS b, count(*) FROM t GROUP BY 1;
SELECT count(*) FROM t WHERE v COLLATE bytes > 'k';
SELECT max(v COLLATE bytes), min(v COLLATE bytes) FROM t;
SELECT count(DISTINCT v COLLATE ci) FROM t;
SELECT k, v FROM t WHERE v = 'v2' COLLATE ci;
SELECT k, v FROM t WHERE v = 'v2' COLLATE ci AND k = 6;
SELECT v FROM t WHERE v SIMILAR TO 'v.' COLLATE bytes;
-- @ordered
SELECT v, k, id FROM t ORDER BY v COLLATE bytes, k, id LIMIT 9;
SELECT string_agg(v, ',' ORDER BY v COLLATE bytes, id) FROM t WHERE k = 3;
SELECT to_tsvector('words', v) FROM t;
SELECT count(*) FROM t WHERE to_tsvector('words', v) @@ to_tsquery('words', 'v1');
SELECT count(*) FROM t WHERE to_tsvector('english', v) @@ to_tsquery('english', 'v1');
SELECT k <+> n FROM t;
SELECT k |+| n FROM t;
SELECT count(*) FROM t WHERE k |+| n > 20;
SELECT total(n) FROM t;
SELECT k, total(n) FROM t GROUP BY k;
SELECT k, 't'::regclass FROM t WHERE k = 3;
SELECT k, 't'::regclass::text, 'pg_class'::regclass, 'mood'::regtype, 'int'::regtype FROM t;
SELECT count(*) FROM t WHERE 't'::regclass::text = 't' AND k = 3;
SELECT k FROM t WHERE v <> 'felt'::regproc::text AND id = 7;
SELECT NULL::t FROM t WHERE k = 3;
SELECT jsonb_populate_record(NULL::t, '{"k": 1, "v": "a"}') FROM t WHERE k = 3;
SELECT jsonb_populate_record(NULL::t, jsonb_build_object('k', k, 'v', v)) FROM t WHERE k = 3;
SELECT (jsonb_populate_record(NULL::shown, jsonb_build_object('k', k))).k FROM t;
SELECT count(*) FROM t, LATERAL jsonb_populate_record(NULL::shown, jsonb_build_object('k', n)) s WHERE s.k = t.n;
-- Of columns' types, which the nodes have.
SELECT count(*) FROM t WHERE c = 'red'::color;
SELECT count(*) FROM t WHERE c = ANY('{red,blue}'::color[]);
SELECT max('blue'::color), count(*) FROM u;
SELECT k, 'large'::size, ARRAY['small']::size[] FROM u WHERE k = 4;
SELECT k, ARRAY['small']::sizes FROM u;
SELECT t.c, r.sz, count(*) FROM t JOIN r ON r.id = t.n WHERE r.sz = 'large' AND t.c > 'red'::color GROUP BY 1, 2;
-- @params 3, 'sad'
SELECT k, $2::mood FROM t WHERE k = $1::int;
-- @params 3, 'sad'
SELECT k, count(*) FROM t WHERE $2::mood < 'ok' AND k > $1::int GROUP BY k;
-- @params 5
SELECT k, $1::positive FROM t WHERE k = $1::int;
-- @params 'v1', 5
SELECT count(*) FROM t WHERE v = $1::plain AND k < $2::int;
-- @params 'words', 'v1'
SELECT count(*) FROM t WHERE to_tsvector('words', v) @@ to_tsquery($1::regconfig, $2);
-- @params 't'
SELECT count(*) FROM t WHERE 't'::regclass = $1::regclass AND n = 3;
SELECT '{[1,3)}'::span_multirange @> n, count(*) FROM t GROUP BY 1;
SELECT k IS DISTINCT FROM n |+| 3 FROM t;
SELECT count(*) FROM t WHERE v IN ('v1', 'v2' COLLATE bytes);
SELECT k, v FROM t WHERE (k, v) = (3, 'v3' COLLATE ci);
SELECT count(*) FROM t WHERE k = ANY(ARRAY[1, 2]::positive[]);
SELECT greatest(v, 'k' COLLATE bytes) FROM t;
SELECT nullif(v, 'v2' COLLATE ci) FROM t;
SELECT row_number() OVER (PARTITION BY v::plain ORDER BY id), id FROM t;
SELECT rank() OVER (ORDER BY v COLLATE ci), v FROM t;
SELECT count(*) FILTER (WHERE v = 'v2' COLLATE ci) FROM t;
SELECT k, count(*) FROM t GROUP BY k HAVING max(v COLLATE bytes) > 'v2';
SELECT v FROM t UNION SELECT v::plain FROM u;
SELECT count(*) FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.k AND u.v = t.v COLLATE ci);
SELECT x, count(*) FROM t, xmltable('/a' PASSING ('<a><x>1</x></a>'::xml) COLUMNS x positive PATH 'x') GROUP BY 1;
SELECT count(*) FROM t JOIN u ON t.v = u.v COLLATE ci;
SELECT t.k, q.* FROM t, LATERAL (SELECT u.v::plain AS p FROM u WHERE u.k = t.k) q;
SELECT k FROM t WHERE v LIKE 'v%' COLLATE bytes AND k = 6;
SELECT ('2025-01-' || k + 1)::timestamptz, ('2025-01-' || k + 1)::timestamp, (k || ' days')::interval, (k || ':30')::time, count(*) FROM t GROUP BY 1, 2, 3, 4;
SELECT date_trunc('month', ('2025-' || n + 1 || '-3 10:00')::timestamptz) AS m, count(*), sum(n) FROM t GROUP BY 1;
-- @error 22008
SELECT count(*) FROM t WHERE ('2025-01-' || k + 28)::timestamptz > '2025-01-05';
SELECT count(*) FROM t WHERE ('{' || k || ',2}')::int[] @> ARRAY[3];
SELECT (ARRAY['red', 'blue'])[1 + k % 2]::color AS x, count(*) FROM t GROUP BY 1;
SELECT count(*) FROM t WHERE ('[' || n || ',5)')::int4range @> 4 AND n < 5;
-- @error 42P01
SELECT ('no_' || k)::regclass FROM t;
SELECT ('pg_' || (CASE WHEN k > 3 THEN 'class' ELSE 'proc' END))::regclass, count(*) FROM t GROUP BY 1;
SELECT (ARRAY['t', 'u'])[1 + k % 2]::regclass, count(*) FROM t GROUP BY 1;
SELECT ('{t,' || (ARRAY['t', 'u'])[1 + k % 2] || '}')::regclass[], count(*) FROM t GROUP BY 1;
SELECT count(*) FROM t WHERE (v || '')::text::plain > 'k';
SELECT count(*) FROM t WHERE (n, CASE WHEN id > 9 THEN 'sad'::mood ELSE 'ok' END::text) NOT IN (SELECT k, v FROM u);
SELECT count(*) FROM t WHERE n |+| 1 IN (SELECT k FROM u WHERE u.k = t.k);
SELECT count(*) FROM t WHERE v COLLATE ci = ANY (SELECT upper(v) FROM r);
SELECT felt(v) IN (SELECT 'ok'::mood FROM u WHERE u.k = t.k) FROM t WHERE k = 3;
SELECT t.id, q.* FROM t LEFT JOIN LATERAL (SELECT count(*) FROM u WHERE u.v < t.v COLLATE ci GROUP BY u.k OFFSET 2) q ON true WHERE t.k < 5;
SELECT t.id, q.* FROM t LEFT JOIN LATERAL (SELECT r.id FROM r INTERSECT SELECT u.k FROM u JOIN t x ON x.k = u.k AND u.v <> t.v COLLATE bytes) q ON true;
-- @params 'v2', 3
SELECT k, v FROM t WHERE v = upper($1 COLLATE bytes) AND k > $2::int;
-- Functions that the nodes have.
SELECT many(k) AS m, count(*) FROM t GROUP BY 1;
SELECT k FROM t WHERE many(k, 'a', v) = 9;
SELECT count(*) FROM t WHERE many(k, VARIADIC ARRAY['a', 'b', 'c']) = 9;
SELECT many(id), many() FROM t WHERE k = 3;
SELECT tagged(b => v, i => k), tagged(k) FROM t WHERE k < 4;
SELECT id FROM t WHERE tagged(n) = 'x4' AND k IN (4, 5);
