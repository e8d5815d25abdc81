-- @error 23514
INSERT INTO dst (k, v, n) SELECT k, 'bad', 20 - n FROM src;
-- @error 23505
INSERT INTO dst (k, v, n) SELECT k, 'bad', n FROM src CROSS JOIN (VALUES (1), (2)) two;
-- @error 21000
INSERT INTO dst (k, v, n) SELECT k, 'bad', n FROM src CROSS JOIN (VALUES (1), (2)) two ON CONFLICT (k, v) DO UPDATE SET n = 0;
-- @error 22003
INSERT INTO dst (k, v, n) SELECT k, 'bad', n * 1000000 FROM src;
-- @error 22012
INSERT INTO dst (k, v, n) SELECT k, 'bad', 1 / abs(k - 30) FROM src;
-- @error 23514
INSERT INTO dm (k, s) SELECT k, 50 + k FROM src;
-- @error 23503
INSERT INTO child SELECT k, 'no such' FROM src;
-- @error 23503
INSERT INTO child SELECT k, 'no such' FROM src WHERE k = 5;
-- @error 44000
INSERT INTO checked SELECT k, 'chk2', n FROM src;
-- @error 22001
INSERT INTO short SELECT name, n FROM names;
-- @error 22001
INSERT INTO tag (k, t) SELECT k, v || 'long' FROM src;
-- @error 22001
INSERT INTO tag (k, t) SELECT k + 1, v || 'long' FROM src;
-- @error 22001
INSERT INTO tag (k, a) SELECT k, ARRAY[v || 'long'] FROM src;
-- @error 22001
INSERT INTO tag (k, a) SELECT k + 1, ARRAY[v || 'long'] FROM src;
-- @error 22001
INSERT INTO tag (k, c) SELECT k, v || 'long' FROM src;
-- @error 22026
INSERT INTO tag (k, b) SELECT k, B'011' FROM src;
-- @error 22026
INSERT INTO tag (k, b) SELECT k + 1, (B'01' || v::bit(1)) FROM (SELECT k, k % 2 AS v FROM src) q;
-- @error 22001
UPDATE tag SET t = src.v || 'long' FROM src WHERE src.k = tag.k;
-- @error 22001
UPDATE tag SET t = src.v || 'long' FROM src WHERE src.k + 1 = tag.k;
-- @error 42601
INSERT INTO dst (k, v) SELECT k FROM src;
-- @error 42804
INSERT INTO dst (k, v, n) SELECT k, v, d FROM src;
-- @error 428C9
INSERT INTO dst (k, twice) SELECT k, n FROM src;
-- @error 428C9
INSERT INTO ser (k, ident) SELECT k, k FROM src;
-- @error 42P10
INSERT INTO dst (k, v, n) SELECT k, v, n FROM src ON CONFLICT (n) DO NOTHING;
-- @error 22P02
INSERT INTO dst (k, v, n) SELECT k, v, v::numeric FROM src;
-- Statements that run under a query tell the names of constraints, too.
-- @error 23514
INSERT INTO dst (k, v, n) VALUES (1, 'bad', -1) RETURNING (SELECT count(*) FROM src);
-- @error 23505
INSERT INTO other (id, k) VALUES (1, 1), (2, 2) RETURNING (SELECT max(n) FROM src);
-- @error 23514
WITH bad AS (INSERT INTO dst (k, v, n) VALUES (1, 'bad', -1) RETURNING k) SELECT * FROM bad;
