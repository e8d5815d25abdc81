UPDATE t SET v = 'ok'::mood::text WHERE k = 3;
UPDATE t SET n = k::positive WHERE k > 0;
-- @error 23514
UPDATE t SET n = k::positive;
UPDATE t SET n = k <+> 2 WHERE k = 3 RETURNING n, 'ok'::mood, ROW(k, v)::pt;
UPDATE t SET v = (ROW(k, v)::pt).y || 'x' WHERE k = 4 RETURNING k, v;
UPDATE t SET v = v || 'y' WHERE v = 'v1' COLLATE ci RETURNING k, id, v;
UPDATE t SET n = n |+| 1 WHERE k IN (5, 6);
UPDATE t SET c = 'red'::color WHERE c = 'blue' AND k < 9;
UPDATE t SET v = 't'::regclass::text WHERE k = 8 RETURNING v, 't'::regclass;
UPDATE r SET v = ('glad'::mood)::text WHERE id = 2 RETURNING 'glad'::mood, v;
UPDATE r SET v = v || 'z' WHERE v = 'V3' COLLATE ci;
UPDATE t SET v = q.m::text FROM (SELECT k, CASE WHEN v > 'v2' THEN 'glad'::mood ELSE 'sad' END AS m FROM u) q WHERE q.k = t.k AND t.k < 12;
DELETE FROM t WHERE v = 'V2' COLLATE ci AND k > 10 RETURNING k, id;
DELETE FROM t WHERE k > 0 AND k::positive = 3 RETURNING 'ok'::mood, k;
DELETE FROM r WHERE v COLLATE bytes = 'v6' RETURNING *;
INSERT INTO u (k, v) SELECT k, ('ok'::mood)::text FROM t WHERE k = 5 RETURNING k, v, 'sad'::mood;
INSERT INTO u (k, v) SELECT k::positive, v::plain FROM t WHERE k > 17;
INSERT INTO u (k, v) VALUES (30, 'ok'::mood::text) RETURNING 'sad'::mood, v, ROW(k, v)::pt;
INSERT INTO u (k, v) VALUES (31, 'a'), ('32'::positive, ('b'::plain)) RETURNING k::positive, v;
-- @error 23514
INSERT INTO u (k, v) VALUES ((-1)::positive, 'c');
INSERT INTO t (k, id, n) VALUES (5, 5, 1) ON CONFLICT (k, id) DO UPDATE SET n = t.n + 5, v = 'sad'::mood::text RETURNING k, n, v;
INSERT INTO r VALUES (10, 'x'::plain, 'small'::size) RETURNING sz, 'ok'::mood;
-- @params 9, 'ok'
UPDATE t SET v = $2::mood::text WHERE k = $1::int RETURNING $2::mood, k;
-- @params 40, 'glad'
INSERT INTO u VALUES ($1::positive, $2::mood::text) RETURNING $2::mood;
MERGE INTO t USING u ON t.k = u.k WHEN MATCHED AND u.v = 'V1' COLLATE ci THEN UPDATE SET v = ('ok'::mood)::text;
INSERT INTO u (k, v) VALUES (41, 'A') RETURNING CASE WHEN v IS DISTINCT FROM lower(v) COLLATE ci THEN 1 ELSE k END, v COLLATE "C" > felt(v)::text;
UPDATE t SET v = 'k' WHERE k = 7 RETURNING CASE WHEN v > 'K' COLLATE ci THEN n ELSE id END, id;
DELETE FROM u WHERE k = 41 RETURNING v || ('x' COLLATE bytes), felt(v COLLATE "C");
-- A collation of a new value is nothing to its column.
INSERT INTO u VALUES (300, 'a' COLLATE bytes) RETURNING v;
INSERT INTO u VALUES (301, left('abc' COLLATE bytes, 2)) RETURNING *;
INSERT INTO u VALUES (302, left(clock_timestamp()::text COLLATE bytes, 0)) RETURNING *;
INSERT INTO u VALUES (303, left('abc' COLLATE bytes, 2)), (304, 'abc' COLLATE ci);
INSERT INTO r VALUES (30, 'x' COLLATE bytes, 'small') ON CONFLICT (id) DO UPDATE SET v = left('k14' COLLATE bytes, 2) RETURNING *;
INSERT INTO r VALUES (30, 'x' COLLATE bytes, 'small') ON CONFLICT (id) DO UPDATE SET v = left('k14' COLLATE bytes, 2) RETURNING *;
UPDATE u SET v = left('k14' COLLATE bytes, 2) WHERE k = 300 RETURNING v;
UPDATE u SET v = (v || 'z') COLLATE bytes WHERE k > 300 RETURNING v;
UPDATE u SET v = upper(v COLLATE bytes) WHERE k > 300 RETURNING *;
UPDATE u SET v = 'q' COLLATE bytes FROM r WHERE r.id = u.k RETURNING u.*;
PREPARE collated (int, text) AS INSERT INTO u VALUES ($1, $2 COLLATE bytes) RETURNING *;
EXECUTE collated (305, 'p');
MERGE INTO u USING r ON r.id = u.k WHEN MATCHED THEN UPDATE SET v = 'm' COLLATE bytes WHEN NOT MATCHED THEN INSERT VALUES (r.id, 'n' COLLATE bytes);
-- @params 306, 'p'
INSERT INTO u VALUES ($1, $2 COLLATE bytes) RETURNING *;
SELECT * FROM u;
DELETE FROM u WHERE k >= 300;
