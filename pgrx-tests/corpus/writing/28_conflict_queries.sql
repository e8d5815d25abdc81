-- The tables have rows again.
INSERT INTO s SELECT i, 's' || i, i * 2 FROM generate_series(1, 40) i ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n;
INSERT INTO o (id, k, v) SELECT i, i % 15, 'o' || i % 4 FROM generate_series(1, 50) i ON CONFLICT (id) DO UPDATE SET k = excluded.k, v = excluded.v;
INSERT INTO r (id, name, n) VALUES (1, 'red', 4), (2, 'green', 5), (3, 'blue', 6) ON CONFLICT DO NOTHING;
INSERT INTO target VALUES (13, 't', 1), (14, 't', 2) ON CONFLICT DO NOTHING;
-- Sub-queries of ON CONFLICT DO UPDATE that have one value for the statement.
INSERT INTO w VALUES (1, 'new', 2), (2, 'new', 2), (200, 'new', 3) ON CONFLICT (k) DO UPDATE SET v = (SELECT max(v) FROM o), n = excluded.n + (SELECT count(*) FROM p) RETURNING *;
INSERT INTO w VALUES (3, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = (SELECT count(*) FROM w) WHERE w.n < (SELECT max(n) FROM s) RETURNING *;
INSERT INTO w VALUES (4, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = 1 WHERE EXISTS (SELECT 1 FROM p WHERE n = 36) RETURNING *;
INSERT INTO w VALUES (4, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = 2 WHERE NOT EXISTS (SELECT 1 FROM p WHERE n = 36) RETURNING *;
INSERT INTO w VALUES (5, 'x', 1), (6, 'x', 9) ON CONFLICT (k) DO UPDATE SET n = 77 WHERE excluded.n IN (SELECT n / 5 FROM p) OR w.v = ANY (SELECT v FROM p) RETURNING *;
INSERT INTO w VALUES (5, 'x', 1), (6, 'x', 9) ON CONFLICT (k) DO UPDATE SET n = 78 WHERE excluded.n NOT IN (SELECT n / 5 FROM p) RETURNING *;
INSERT INTO w VALUES (5, 'x', 1), (6, 'x', 9) ON CONFLICT (k) DO UPDATE SET n = 79 WHERE excluded.n > ALL (SELECT k FROM p WHERE k < 40) OR excluded.n < ALL (SELECT k FROM p) RETURNING *;
INSERT INTO w VALUES (7, 'x', 1) ON CONFLICT (k) DO UPDATE SET (v, n) = (SELECT v, n FROM p ORDER BY k LIMIT 1) RETURNING *;
INSERT INTO w VALUES (8, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = 80 WHERE (w.k, excluded.n) = (SELECT 8, 1 FROM p LIMIT 1) RETURNING *;
INSERT INTO w VALUES (8, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = cardinality(ARRAY(SELECT k FROM p)) RETURNING *;
INSERT INTO w SELECT k, v, 5 FROM s WHERE k < 6 ON CONFLICT (k) DO UPDATE SET n = excluded.n + (SELECT min(id) FROM o WHERE id > 0) RETURNING *;
INSERT INTO w SELECT DISTINCT k, 'p', 5 FROM p WHERE k < 38 ON CONFLICT (k) DO UPDATE SET n = (SELECT max(n) FROM p) RETURNING *;
INSERT INTO w SELECT DISTINCT k, 'p', 6 FROM p WHERE k < 38 ON CONFLICT (k) DO UPDATE SET n = (SELECT max(n) FROM w WHERE w.k < 100) RETURNING *;
-- No row conflicts, no row comes.
INSERT INTO w VALUES (300, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = (SELECT n FROM p WHERE k = 35) RETURNING *;
INSERT INTO w SELECT k, v, 5 FROM p WHERE k > 1000 ON CONFLICT (k) DO UPDATE SET n = (SELECT max(n) FROM p) RETURNING *;
-- NULL where there is no row, and an error for many.
INSERT INTO w VALUES (9, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT v FROM p WHERE k = -1) RETURNING *;
-- @error 23502
INSERT INTO w VALUES (9, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = (SELECT n FROM p WHERE k = -1);
-- @error 21000
INSERT INTO w VALUES (9, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = (SELECT n FROM p);
-- Queries of WITH.
WITH aa AS (SELECT 1 a, 'b' b) INSERT INTO w VALUES (1, (SELECT b || ' insert' FROM aa WHERE a = 1)) ON CONFLICT (k) DO UPDATE SET v = (SELECT b || ' update' FROM aa WHERE a = 1 LIMIT 1) RETURNING *;
WITH aa AS (SELECT k, n FROM p) INSERT INTO w VALUES (2, 'cte', 2) ON CONFLICT (k) DO UPDATE SET n = (SELECT sum(n) FROM aa) RETURNING *;
WITH aa AS (SELECT 'a' a, 'b' b UNION ALL SELECT 'a' a, 'c' b) INSERT INTO w VALUES (1, 'aa') ON CONFLICT (k) DO UPDATE SET v = (SELECT max(b) || ' update' FROM aa WHERE a = 'a') RETURNING *;
WITH simple AS (SELECT 3 k, 'Green' v), up AS (INSERT INTO w VALUES (3, 'Blue', 0) ON CONFLICT (k) DO UPDATE SET (v, n) = (SELECT v, k FROM simple WHERE simple.k = w.k) RETURNING k, v) SELECT * FROM up;
WITH gone AS (DELETE FROM p WHERE k = 45 RETURNING n) INSERT INTO w VALUES (10, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = (SELECT n FROM gone) RETURNING *;
WITH aa AS (SELECT k, v FROM s) INSERT INTO w VALUES (11, 'x', 1), (12, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT v FROM aa WHERE aa.k = excluded.k) RETURNING *;
-- What mentions the row reads what is beside it.
INSERT INTO w VALUES (13, 'x', 1), (14, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT s.v FROM s WHERE s.k = excluded.k), n = (SELECT count(*) FROM target WHERE target.k = w.k) RETURNING *;
INSERT INTO w VALUES (15, 'x', 1), (16, 'x', 1) ON CONFLICT (k) DO UPDATE SET n = excluded.n WHERE EXISTS (SELECT 1 FROM s WHERE s.k = w.k AND s.n > 30) RETURNING *;
INSERT INTO w VALUES (17, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT s.v FROM s WHERE s.k = w.k AND s.n > excluded.n), n = (SELECT max(n) FROM p) RETURNING *;
INSERT INTO w SELECT k, v, 1 FROM s WHERE k BETWEEN 18 AND 20 ON CONFLICT (k) DO UPDATE SET v = (SELECT s.v || w.v FROM s WHERE s.k = excluded.k) RETURNING *;
INSERT INTO w VALUES (21, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT name FROM r WHERE r.id = excluded.n) RETURNING *;
-- Reference tables: all copies get the same.
INSERT INTO r (id, name) VALUES (1, 'crimson'), (2, 'lime') ON CONFLICT (id) DO UPDATE SET name = excluded.name || (SELECT max(k) FROM p), n = (SELECT count(*) FROM o) RETURNING *;
INSERT INTO r (id, name) VALUES (3, 'navy') ON CONFLICT (id) DO UPDATE SET n = r.n + (SELECT n FROM r AS i ORDER BY id LIMIT 1) RETURNING *;
INSERT INTO r (id, name) VALUES (3, 'navy') ON CONFLICT (id) DO UPDATE SET n = 5 WHERE r.n IN (SELECT n FROM r) RETURNING *;
PREPARE up (int, int) AS INSERT INTO w VALUES ($1, 'p', $2) ON CONFLICT (k) DO UPDATE SET n = excluded.n + (SELECT count(*) FROM p WHERE k > $2) RETURNING *;
EXECUTE up (1, 40);
EXECUTE up (2, 44);
EXECUTE up (400, 1);
DEALLOCATE up;
-- Whole rows as arguments of functions, of sub-queries with the same numbers in them, too.
INSERT INTO w VALUES (22, 'x', 3) ON CONFLICT (k) DO UPDATE SET v = (SELECT row_to_json(x)::text FROM (SELECT max(k) m, min(n) FROM p) x) RETURNING *;
INSERT INTO w VALUES (22, 'x', 3) ON CONFLICT (k) DO UPDATE SET v = (SELECT x::text || (x = (45, 35))::text FROM (SELECT 45 m, 35 n) x) RETURNING *;
INSERT INTO w VALUES (22, 'y', 3) ON CONFLICT (k) DO UPDATE SET v = (SELECT to_jsonb(excluded)::text || w::text) RETURNING *;
INSERT INTO w VALUES (22, 'x "y"', 3), (23, NULL, 2) ON CONFLICT (k) DO UPDATE SET v = to_jsonb(excluded)::text RETURNING *;
INSERT INTO w AS i VALUES (22, 'x', 5), (23, NULL, 2) ON CONFLICT (k) DO UPDATE SET v = row_to_json(i)::text || jsonb_build_object('old', i, 'new', excluded)::text RETURNING *;
INSERT INTO w VALUES (24, 'x', 2) ON CONFLICT (k) DO UPDATE SET v = concat(excluded, '-', w), n = num_nulls(excluded, w) WHERE to_jsonb(w) <> to_jsonb(excluded.*) RETURNING *;
INSERT INTO w SELECT k, v, 1 FROM s WHERE k BETWEEN 25 AND 26 ON CONFLICT (k) DO UPDATE SET v = (to_jsonb(excluded) - 'k')::text RETURNING *;
INSERT INTO w SELECT DISTINCT k, 'p', (SELECT count(*) FROM s AS z) FROM p WHERE k < 37 ON CONFLICT (k) DO UPDATE SET v = (to_jsonb(excluded) - 'k')::text || (SELECT max(k) FROM p) RETURNING *;
INSERT INTO r AS i (id, name) VALUES (1, 'red'), (2, 'green') ON CONFLICT (id) DO UPDATE SET name = to_json(excluded) ->> 'name' || length(to_json(i)::text) RETURNING *;
SELECT * FROM w;
SELECT * FROM r;
