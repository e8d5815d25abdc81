-- What a row is given is computed once, however often the statement looks at it: by RETURNING, by the condition
-- of a view, by generated columns, by several columns of one sub-query. Values differ from run to run, so that
-- they are compared with each other.
INSERT INTO draw SELECT i, 'draw ' || i, i FROM generate_series(1, 6) i;
INSERT INTO dice SELECT i, 'dice ' || i, i FROM generate_series(1, 20) i;
UPDATE draw SET n = (random() * 1000000)::int RETURNING id, n = (SELECT draw.n), n + 0 = (SELECT draw.n + 0);
SELECT count(DISTINCT n) > 1 FROM draw;
UPDATE dice SET n = (random() * 1000000)::int WHERE k < 9 RETURNING k, n = (SELECT dice.n), (SELECT count(*) FROM o WHERE o.k = dice.k AND dice.n >= 0);
UPDATE dice SET n = (SELECT max(id) FROM o WHERE o.k < dice.k OR o.v = 'o1') WHERE k < 9 RETURNING k, n, (SELECT string_agg(v, ',' ORDER BY v) FROM w WHERE w.k = dice.n);
UPDATE draw SET n = (SELECT max(k) FROM w WHERE w.k < draw.id * 5 OR w.v = 'w2') RETURNING id, n, (SELECT array_agg(v ORDER BY k) FROM w WHERE draw.n IS NULL OR w.k = draw.n);
UPDATE dice SET n = k * 3 + (random() * 0)::int WHERE k < 9 RETURNING k, twice, (SELECT dice.twice), (SELECT dice.n || dice.v);
UPDATE dice SET n = (SELECT max(id) FROM o WHERE o.k < dice.k OR o.v = 'o1') + k WHERE k < 9 RETURNING k, twice, (SELECT dice.twice + count(*) FROM o WHERE o.k < dice.twice);
DELETE FROM dice USING (SELECT max(k) AS top FROM w) m WHERE dice.k = m.top RETURNING dice.k, twice, (SELECT dice.twice);
-- A key that moves, and a generated column.
UPDATE dice SET k = k + 100, n = (random() * 10000)::int WHERE k < 4 RETURNING k, twice = n * 2, (SELECT dice.twice) = n * 2;
SELECT k, twice = n * 2 FROM dice;
-- Several columns of one sub-query that has other values each time.
UPDATE draw SET (n, name) = (SELECT x, x::text || '/' || draw.id FROM (SELECT (random() * 1000000)::int AS x) q) RETURNING id, name = n || '/' || id, (SELECT draw.n) = n;
UPDATE draw SET (n, name) = (SELECT x, x::text || '/' || draw.id FROM (SELECT (random() * 1000000)::int AS x) q);
SELECT id, name = n || '/' || id FROM draw;
UPDATE dice SET (n, v) = (SELECT x, x::text FROM (SELECT (random() * 1000000)::int + dice.k * 0 AS x) q) WHERE k IN (SELECT o.k FROM o) RETURNING k, v = n::text;
SELECT k, v = n::text FROM dice;
UPDATE draw SET (n, name) = (SELECT i, i::text FROM generate_series(1, 0) i WHERE random() < 2) RETURNING *;
-- @error 21000
UPDATE draw SET (n, name) = (SELECT i, i::text FROM generate_series(1, 2) i WHERE random() < 2);
-- The queries of WITH are further away from a query below the one for the rows.
WITH m AS (SELECT max(id) AS top FROM o), gone AS (DELETE FROM p WHERE k < 37 RETURNING k)
    UPDATE draw SET n = (SELECT top FROM m) + (random() * 0)::int, name = (SELECT count(*) FROM gone) || '/' || id
    WHERE id < (SELECT top FROM m) RETURNING id, n, (SELECT draw.n), (SELECT top FROM m), name, (SELECT sum(k) FROM gone);
WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 5), j AS (SELECT x * 2 AS y FROM i)
    UPDATE draw SET n = (SELECT sum(y) FROM j WHERE y > draw.id) + (random() * 0)::int RETURNING id, n, (SELECT count(*) FROM i WHERE x < draw.n);
-- Conditions of views.
UPDATE dice SET n = k;
CREATE VIEW low AS SELECT k, v, n FROM dice WHERE n < 2000000 AND k > 0 WITH CHECK OPTION;
INSERT INTO low VALUES (201, 'low', (random() * 100)::int) RETURNING k, n = (SELECT low.n);
INSERT INTO low VALUES (202, 'low', (random() * 100)::int), (203, 'low', (random() * 100)::int) RETURNING k, n < 101;
WITH b AS (SELECT 100 AS base) INSERT INTO low VALUES (204, 'low', (random() * (SELECT base FROM b))::int) RETURNING k, n < 101;
-- @error 44000
INSERT INTO low VALUES (205, 'low', 2000000 + (random() * 100)::int);
UPDATE low SET n = (random() * 100)::int WHERE k > 200 RETURNING k, n < 101;
UPDATE low SET n = (random() * 100)::int, k = k + 10000 WHERE k > 203 RETURNING k, n < 101;
-- @error 44000
UPDATE low SET n = 2000000 + (random() * 100)::int WHERE k > 200;
-- @error 44000
UPDATE low SET n = (SELECT count(*) FROM o WHERE o.k < low.k) + 2000000 + (random() * 100)::int WHERE k < 20;
SELECT k, n < 101 FROM dice;
DROP VIEW low;
-- MERGE: conditions and rows of sub-queries.
MERGE INTO draw USING (SELECT DISTINCT k FROM o WHERE k < 9) x ON draw.id = x.k
    WHEN MATCHED AND random() < 2 THEN UPDATE SET (n, name) = (SELECT y, y || '/' || draw.id FROM (SELECT (random() * 1000000)::int AS y) q)
    WHEN NOT MATCHED AND x.k = 8 THEN INSERT VALUES (x.k, '4/8', 4);
SELECT id, name = n || '/' || id FROM draw;
WITH x AS (SELECT DISTINCT k FROM o WHERE k < 5) MERGE INTO draw USING x ON draw.id = x.k
    WHEN MATCHED AND random() < 2 AND EXISTS (SELECT FROM x WHERE k = 2) THEN UPDATE SET n = 1000 / (x.k - (SELECT min(k) - 1 FROM x)), name = 'merged ' || x.k;
SELECT id, n, name FROM draw WHERE name LIKE 'merged%';
WITH x AS (SELECT DISTINCT k FROM o WHERE k < 5) MERGE INTO draw USING x ON draw.id = x.k
    WHEN MATCHED AND draw.id > 1 THEN UPDATE SET (n, name) = (SELECT 12 / (draw.id - 1), y::text FROM (SELECT (random() * 1000000)::int AS y) q);
SELECT id, n, name ~ '^[0-9]+$' FROM draw WHERE id < 5;
