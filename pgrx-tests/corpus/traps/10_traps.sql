-- OIDs of user-defined types differ between nodes.
SELECT k, c, cs, p, ps, d FROM e;
-- @params '{red,blue}'
SELECT k FROM e WHERE cs = $1;
-- @params '(3,2,green)'
SELECT k FROM e WHERE p = $1::point3;
-- @params '{blue}', 'green'
SELECT k FROM e WHERE d = $1 AND c = $2;
-- @params 1, '{"(1,1,red)"}'
SELECT k, ps FROM e WHERE k = $1 AND ps = $2;
SELECT array_agg(c ORDER BY k), max(c), array_agg(DISTINCT c) FROM e;
SELECT ROW(k, c, cs), p FROM e WHERE k < 3;
SELECT c::text, (p).c, (ps[1]).y, cs[2] FROM e WHERE k = 4;
SELECT e1.k FROM e e1 JOIN e e2 ON e1.c = e2.c AND e1.k = e2.k + 3;
SELECT c FROM e WHERE k = 2 UNION SELECT (p).c FROM e WHERE k = 5;
SELECT x, count(*) FROM e, unnest(cs) x GROUP BY x;
SELECT 'e'::regclass::text, k FROM e WHERE k = 1;
SELECT tableoid::regclass::text, count(*) FROM w GROUP BY 1;
SELECT tableoid = 'w'::regclass FROM w WHERE k = 1;
SELECT pg_typeof(c)::text, pg_typeof(ps)::text FROM e WHERE k = 1;
SELECT (jsonb_populate_record(NULL::point3, '{"x": 5, "c": "red"}')).c FROM e WHERE k = 1;
-- Text depends on the session.
SET datestyle = 'German';
SELECT (timestamptz '2025-03-01 12:00+00' + k * interval '1 day')::text FROM w WHERE k < 3;
SET timezone = 'Asia/Tokyo';
SELECT (timestamptz '2025-03-01 12:00+00')::text || k, date_trunc('day', timestamptz '2025-03-01 20:00+00') FROM w WHERE k < 3;
SELECT max((timestamptz '2025-03-01 12:00+00' + k * interval '1 hour')::text) FROM w;
SET intervalstyle = 'sql_standard';
SELECT (k * interval '1 day 1 hour')::text FROM w WHERE k < 3;
SET bytea_output = 'escape';
SELECT ('\x4100'::bytea)::text || k FROM w WHERE k < 3;
SET lc_monetary = 'C';
SET standard_conforming_strings = off;
SELECT 'a\\b' || k FROM w WHERE k = 1;
RESET ALL;
SET extra_float_digits = 0;
SELECT (k / 3.0::float8)::text, k / 3.0::float8 FROM w WHERE k < 4;
RESET extra_float_digits;
BEGIN;
SET LOCAL timezone = 'America/Lima';
SELECT (timestamptz '2025-03-01 12:00+00')::text || k FROM w WHERE k < 3;
COMMIT;
SELECT (timestamptz '2025-03-01 12:00+00')::text || k FROM w WHERE k < 3;
SET my.flag = '2';
SELECT k FROM w WHERE k = current_setting('my.flag')::int;
SELECT count(*) FROM w WHERE n = current_setting('my.flag')::int;
SELECT count(*) FROM w WHERE current_setting('my.flag')::int + n = 4;
-- Once or many times.
SELECT count(DISTINCT now()), count(DISTINCT statement_timestamp()), count(DISTINCT transaction_timestamp()) FROM w;
SELECT count(DISTINCT pg_backend_pid()) FROM w;
SELECT count(DISTINCT current_user), count(DISTINCT session_user), bool_and(current_database() = current_catalog) FROM w;
SELECT count(*) FROM w WHERE pg_backend_pid() = (SELECT pg_backend_pid());
SELECT current_schema(), current_schemas(false), k FROM w WHERE k = 1;
SELECT count(DISTINCT random()) FROM w;
SELECT count(DISTINCT r) FROM (SELECT random() AS r FROM w) q;
SELECT count(*) FROM w WHERE random() < 2;
SELECT count(*), count(DISTINCT x) FROM (SELECT k, nextval('s1') AS x FROM w) q;
SELECT currval('s1');
SELECT count(*) FROM w WHERE k = nextval('s1');
SELECT count(DISTINCT gen_random_uuid()) FROM w;
SELECT count(DISTINCT clock_timestamp()) > 0 FROM w;
SELECT count(DISTINCT txid_current()) FROM w;
SELECT count(*) FROM w WHERE n = (SELECT (random() * 0)::int);
SELECT count(DISTINCT x) FROM (SELECT (SELECT random()) AS x FROM w) q;
SELECT count(DISTINCT x) FROM (SELECT (SELECT random() + w.k * 0) AS x FROM w) q;
SELECT count(*) FROM (SELECT k FROM w ORDER BY k LIMIT 3) q JOIN w2 ON true;
-- @tag
INSERT INTO v SELECT k, nextval('s1'), 0, now(), current_user, 0 FROM w;
SELECT count(DISTINCT seq), count(DISTINCT ts), count(DISTINCT who) FROM v;
-- @tag
UPDATE v SET r = random();
SELECT count(DISTINCT r) > 25 FROM v;
-- @tag
UPDATE v SET seq = nextval('s1'), ts = now();
SELECT count(DISTINCT seq), count(DISTINCT ts) FROM v;
-- @tag
UPDATE v SET who = current_user, tx = pg_backend_pid();
SELECT count(DISTINCT tx), bool_and(tx = pg_backend_pid()) FROM v;
-- @tag
INSERT INTO v (k, r) VALUES (1, random()), (2, random()), (3, random());
-- @tag
DELETE FROM v WHERE random() < 0;
SELECT count(*) FROM v;
-- @tag
DELETE FROM v;
-- Pruning.
SELECT k FROM w WHERE k = 5::bigint;
SELECT k FROM w WHERE k = 5::smallint;
SELECT k FROM w WHERE k = 5::numeric;
SELECT k FROM w WHERE k = 5.5;
SELECT k FROM w WHERE k = 5::float8;
SELECT k FROM w WHERE k::bigint = 5;
SELECT k FROM w WHERE k::text = '5';
SELECT k FROM w WHERE 5 = k;
SELECT k FROM w WHERE k = 3 + 2;
SELECT k FROM w WHERE k = length('12345');
SELECT k FROM w WHERE k = NULL;
SELECT k FROM w WHERE k IN (NULL, 5);
SELECT k FROM w WHERE k NOT IN (5, 6, NULL);
SELECT k FROM w WHERE k NOT IN (5, 6) AND k < 9;
SELECT k FROM w WHERE NOT (k = 5 OR k > 6);
SELECT k FROM w WHERE k = 5 OR NULL;
SELECT k FROM w WHERE (k = 5) IS TRUE;
SELECT k FROM w WHERE (k = 5) IS NOT FALSE;
SELECT k FROM w WHERE (k = 5) = true;
SELECT k FROM w WHERE k = 5 AND k = 5;
SELECT k FROM w WHERE k = 5 AND k = 6;
SELECT count(*), max(k) FROM w WHERE k = 5 AND k = 6;
SELECT k FROM w WHERE k = 5 AND n = 1 OR k = 6 AND n = 2;
SELECT k FROM w WHERE k IN (5, 6) AND k IN (6, 7);
SELECT k FROM w WHERE k = ANY ('{5,6,NULL}');
SELECT k FROM w WHERE k = ALL ('{5}');
SELECT k FROM w WHERE k <> ALL ('{5,6}') AND k < 8;
SELECT k FROM w WHERE k = (SELECT 5);
SELECT k FROM w WHERE k = (SELECT max(id) FROM ref WHERE id < 50);
SELECT k FROM w WHERE CASE WHEN k = 5 THEN true ELSE false END;
SELECT k FROM w WHERE coalesce(k, 0) = 5;
SELECT k FROM w WHERE k BETWEEN 5 AND 5;
SELECT k FROM w WHERE k >= 5 AND k <= 5;
SELECT k FROM w WHERE (k, n) = (5, 1);
SELECT k FROM w WHERE (k, n) IN ((5, 1), (6, 2), (7, 7));
SELECT k FROM w WHERE k = 99999999999;
-- @params 5
-- @params NULL
-- @params 99
SELECT k, v FROM w WHERE k = $1;
-- @params 5, 6
-- @params NULL, 6
-- @params NULL, NULL
SELECT k FROM w WHERE k IN ($1, $2);
-- @params 5
-- @params 5.0
-- @params 5.5
SELECT k FROM w WHERE k = $1::numeric;
-- @params 5
-- @params 99999999999
SELECT k FROM w WHERE k = $1::bigint;
-- @params 5, 1
-- @params NULL, 1
SELECT k FROM w WHERE k = $1 OR ($1 IS NULL AND n = $2);
-- Empty and partial.
SELECT count(*), sum(n), avg(n), max(v), array_agg(k), bool_or(n > 0) FROM w WHERE k = 1000;
SELECT count(*) FROM w WHERE k IN (1000, 2000) HAVING count(*) = 0;
SELECT n, count(*) FROM w WHERE k = 1000 GROUP BY n;
SELECT avg(n), sum(n), pg_typeof(avg(n)), pg_typeof(sum(k::bigint)) FROM w WHERE k IN (1, 2);
SELECT string_agg(v, ', ' ORDER BY k DESC), string_agg(v, '' ORDER BY v) FROM w WHERE k < 8;
SELECT string_agg(v, NULL ORDER BY k) FROM w WHERE k < 5;
SELECT count(*) FILTER (WHERE n = 99), sum(k) FILTER (WHERE n = 99) FROM w;
SELECT max(v COLLATE "en-x-icu"), min(v COLLATE "C") FROM w;
-- Order and LIMIT.
-- @ordered
SELECT v FROM w ORDER BY v COLLATE "C" DESC LIMIT 4;
-- @ordered
SELECT k FROM w ORDER BY -k LIMIT 3;
-- @ordered
SELECT DISTINCT n FROM w ORDER BY n LIMIT 2;
-- @ordered
SELECT w.k, w2.v FROM w JOIN w2 USING (k) ORDER BY w.k DESC LIMIT 3;
-- @ordered
SELECT w.k, w2.v FROM w LEFT JOIN w2 USING (k) ORDER BY w2.v NULLS FIRST, w.k LIMIT 25;
-- @ordered
SELECT q.k FROM (SELECT k FROM w ORDER BY k LIMIT 5) q WHERE q.k > 3 ORDER BY k;
-- @ordered
SELECT n, max(k) FROM w GROUP BY n ORDER BY 2 DESC LIMIT 2;
-- @ordered
SELECT count(*) FROM (SELECT DISTINCT n FROM w LIMIT 3) q;
-- The nullable side does not partition the rows.
SELECT w2.k, count(*) FROM w LEFT JOIN w2 ON w.k = w2.k GROUP BY w2.k;
SELECT DISTINCT w2.k FROM w LEFT JOIN w2 ON w.k = w2.k;
SELECT w2.k, row_number() OVER (PARTITION BY w2.k ORDER BY w.k) FROM w LEFT JOIN w2 ON w.k = w2.k;
SELECT w2.k, count(*) FROM ref LEFT JOIN w2 ON w2.k = ref.id GROUP BY w2.k;
SELECT w.k, w2.k, count(*) FROM w FULL JOIN w2 ON w.k = w2.k GROUP BY w.k, w2.k;
SELECT count(DISTINCT w2.k), count(*) FROM w LEFT JOIN w2 ON w.k = w2.k;
SELECT w2.k, (SELECT count(*) FROM w w3 WHERE w3.k = w2.k) FROM w LEFT JOIN w2 ON w.k = w2.k;
SELECT q.k FROM (SELECT w2.k FROM w LEFT JOIN w2 ON w.k = w2.k) q LEFT JOIN w2 x ON x.k = q.k;
-- Joins on more than the surface.
SELECT count(*) FROM w JOIN w2 ON w.k = w2.k AND w.n = w2.n;
SELECT count(*) FROM w JOIN w2 ON w.n = w2.n JOIN w w3 ON w3.k = w2.k;
SELECT count(*) FROM (SELECT n FROM w GROUP BY n) a JOIN (SELECT n FROM w2 GROUP BY n) b USING (n);
SELECT count(*) FROM (SELECT k + 1 AS k FROM w) a JOIN w2 b ON a.k = b.k;
SELECT count(*) FROM (SELECT k AS n, n AS k FROM w) a JOIN w2 b ON a.k = b.k;
SELECT count(*) FROM (SELECT n AS k FROM w UNION ALL SELECT k FROM w) a JOIN w2 b ON a.k = b.k;
SELECT count(*) FROM w WHERE k IN (SELECT n FROM w2);
SELECT count(*) FROM w WHERE n IN (SELECT k - 20 FROM w2);
SELECT count(*) FROM w JOIN w2 ON w.k = w2.k OR w.n = w2.n;
SELECT count(*) FROM w JOIN w2 ON (w.k = w2.k) IS NOT TRUE;
SELECT count(*) FROM ref FULL JOIN w ON w.k = ref.id;
SELECT ref.v, w.v FROM ref RIGHT JOIN w ON w.k = ref.id WHERE w.k < 4;
SELECT count(*) FROM w a JOIN w b USING (k) JOIN w c USING (k) LEFT JOIN w2 USING (k);
-- Rows.
SELECT * FROM drops;
SELECT drops FROM drops WHERE k = 3;
SELECT row_to_json(drops) FROM drops WHERE k = 3;
SELECT count(d), max(d.v) FROM drops d;
SELECT (d).v, (d).added FROM (SELECT d FROM drops d WHERE k = 2) q;
INSERT INTO drops VALUES (50, 'fifty', 1) RETURNING *, drops;
INSERT INTO drops SELECT k + 100, v, n, 7 FROM drops WHERE k < 3 RETURNING drops;
UPDATE drops SET v = 'u' WHERE k = 50 RETURNING drops.*;
UPDATE drops d SET n = 9 RETURNING d;
DELETE FROM drops WHERE k = 50 RETURNING drops;
SELECT w FROM w JOIN w2 USING (k) WHERE k < 22;
SELECT w IS NULL, w2 IS NULL, w2 FROM w LEFT JOIN w2 USING (k) WHERE k IN (1, 25);
SELECT ctid IS NOT NULL FROM w WHERE k = 1;
SELECT count(ctid) FROM w;
SELECT xmin IS NOT NULL, cmin IS NOT NULL FROM w WHERE k = 1;
SELECT to_jsonb(w) - 'v' FROM w WHERE k = 1;
CREATE FUNCTION label(w) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$SELECT $1.k || ':' || $1.v$$;
SELECT label(w), w.label FROM w WHERE k < 3;
-- Executor contract.
SELECT g, (SELECT count(*) FROM w WHERE w.n = g) FROM generate_series(0, 5) g;
SELECT g, (SELECT v FROM w WHERE w.k = g) FROM generate_series(0, 5) g;
SELECT r.id, x.k FROM ref r LEFT JOIN LATERAL (SELECT k FROM w WHERE w.k >= r.id ORDER BY k LIMIT 2) x ON true;
SELECT count(*) FROM (SELECT * FROM w CROSS JOIN w2 LIMIT 100) q;
SELECT EXISTS (SELECT 1 FROM w WHERE v = 'w3');
SELECT k FROM w WHERE EXISTS (SELECT 1 FROM w2 LIMIT 1) AND k < 3;
-- @error 22012
SELECT 10 / (k - 15) FROM w;
SELECT count(*) FROM w;
-- @error 22012
SELECT 10 / (k - 15) FROM w WHERE k = 15;
-- @error 22P02
SELECT v::int FROM w;
-- @error 42P01
SELECT * FROM no_such_table;
-- @error 42703
SELECT nope FROM w;
-- @error 42703
SELECT w.nope FROM w JOIN w2 USING (k);
-- @error 42702
SELECT k FROM w, w2;
-- @error 42883
SELECT no_such_function(k) FROM w;
-- @error 42601
SELECT FROM WHERE;
