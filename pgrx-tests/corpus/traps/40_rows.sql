-- Rows of no named type, and columns that the system has: wherever they are asked for.
SELECT k FROM w WHERE ROW (k, n) = ANY (ARRAY[ROW (1, 1), ROW (2, 3)]);
SELECT k FROM w WHERE k = 2 AND ROW (k, n) = ANY (ARRAY[ROW (1, 1), ROW (2, 2)]);
SELECT k FROM w WHERE ROW (k, v) = ANY (ARRAY[ROW (1, 'w1'::text), NULL, ROW (2, NULL::text), ROW (3, 'it''s'::text)]);
SELECT k, ROW (1, ROW (2, k), ARRAY[ROW (3, 4)]) = ROW (1, ROW (2, 1), ARRAY[ROW (3, 4)]) FROM w WHERE k < 4;
SELECT k FROM w WHERE ROW (k, n) = ANY (ARRAY[]::record[]);
SELECT k FROM w WHERE ROW (k, 1) < ROW (3, NULL::int);
SELECT k, ROW (1, 'x'), ARRAY[ROW (1, 2.5)] FROM w WHERE k < 4;
-- @ordered
SELECT k FROM w ORDER BY ROW (n, v), k LIMIT 9;
-- @ordered
SELECT DISTINCT ON (ROW (n, k % 2)) n, k FROM w ORDER BY ROW (n, k % 2), k LIMIT 5;
-- @ordered
SELECT k FROM w ORDER BY w DESC LIMIT 3;
-- @params 1, 2
-- @params 3, 7
SELECT k, n FROM w WHERE ROW (k, n) = ANY (ARRAY[ROW ($1::int, 1), ROW (2, $2::int), ROW (3, 3)]);
UPDATE w SET v = 'row' WHERE ROW (k, n) = ANY (ARRAY[ROW (1, 1), ROW (5, 1)]) RETURNING k, v;
DELETE FROM w WHERE ROW (k, n) = ANY (ARRAY[ROW (1, 1), ROW (5, 7)]) RETURNING k;
SELECT xmin::text::bigint > 2, xmax::text <> '', cmax IS NOT NULL, ctid IS NOT NULL, tableoid = 'w'::regclass, k FROM w WHERE k = 2;
SELECT w.xmin::text::bigint > 2, w2.xmin::text::bigint > 2, w.tableoid = 'w'::regclass, w.k, w2.k FROM w JOIN w2 ON w2.n = w.n;
SELECT r.xmin::text::bigint > 2, w.cmin IS NOT NULL, w.k FROM ref r FULL JOIN w ON w.n = r.id AND w.xmin::text <> '';
SELECT k FROM w WHERE xmin IN (SELECT xmin FROM w) AND k < 4;
UPDATE w SET v = 'old' WHERE xmin::text <> '' AND k = 6 RETURNING xmin::text::bigint > 2, k;
UPDATE w SET v = 'other' FROM w2 WHERE w2.n = w.n AND w2.k = 20 AND w.xmin::text <> '' RETURNING w.xmin::text::bigint > 2, w.tableoid = 'w'::regclass, w.k;
UPDATE ref SET v = ref.v || '+' FROM w WHERE w.n = ref.id AND w.k = 21 RETURNING ref.xmin::text::bigint > 2, ref.id;
INSERT INTO w VALUES (500, 1, 'new') RETURNING xmin::text::bigint > 2, tableoid = 'w'::regclass, k;
DELETE FROM w USING w2 WHERE w2.n = w.n AND w2.k = 20 AND w.k > 25 RETURNING w.xmax::text::bigint > 2, w.k;
-- Rows of views are compared as rows, in which NULLs are equal, and not column by column.
INSERT INTO w VALUES (600, NULL, 'null'), (601, NULL, NULL);
CREATE VIEW seen AS SELECT * FROM w WHERE k > 5;
CREATE VIEW turned AS SELECT v, n, k FROM w2;
SELECT count(*) FROM seen x WHERE x >= x;
SELECT count(*) FROM seen x WHERE x = x AND x IS NOT DISTINCT FROM x;
SELECT x.k, y.k FROM seen x JOIN seen y ON x = y WHERE x.k > 590;
SELECT x.k FROM seen x WHERE x = (SELECT y FROM seen y WHERE y.k = 600);
SELECT x.k FROM seen x WHERE x IN (SELECT y FROM seen y WHERE y.k >= 600);
SELECT x.k FROM seen x WHERE x <> ALL (SELECT y FROM seen y WHERE y.k < 600);
SELECT k FROM w WHERE ROW (n, v)::record = ROW (NULL::int, 'null'::text)::record;
SELECT k FROM w WHERE ROW (n, v)::record = ROW (NULL::int, v)::record AND k = 601;
SELECT count(*) FROM w WHERE ROW (n, v) = ROW (n, v);
SELECT x.k FROM turned x WHERE x < ROW ('x22', 2, 22)::turned;
UPDATE seen x SET v = 'same' WHERE x >= x AND k > 590 RETURNING k, v;
UPDATE seen x SET v = 'both' FROM turned y WHERE x = x AND y.k = x.k AND y = y RETURNING x.k;
DELETE FROM seen x WHERE x = (SELECT y FROM seen y WHERE y.k = 601) RETURNING k;
ALTER TABLE w2 ADD COLUMN gone INT;
CREATE VIEW whole AS SELECT * FROM w2;
SELECT count(*) FROM whole x WHERE x = x;
DROP VIEW seen, turned, whole;
ALTER TABLE w2 DROP COLUMN gone;
SELECT count(*) FROM w2 x WHERE x = x;
UPDATE w2 x SET n = 3 WHERE x = x AND k = 22 RETURNING x;
-- tableoid is the table's, also where the rows of a change are found by their shards.
UPDATE w SET v = w.tableoid::regclass::text FROM w2 WHERE w2.n = w.n AND w2.k = 30 AND w.tableoid = 'w'::regclass RETURNING w.k, w.v, (SELECT w.tableoid = 'w'::regclass), w2.tableoid = 'w2'::regclass;
UPDATE w SET v = 'found' WHERE tableoid = 'w'::regclass AND random() < 2 AND k < 9 RETURNING k, v;
UPDATE w SET v = 'none' WHERE tableoid <> 'w'::regclass;
UPDATE w SET v = 'one' WHERE k = 8 AND tableoid = 'w'::regclass RETURNING v, tableoid = 'w'::regclass;
UPDATE w SET v = (SELECT q.c::text FROM (SELECT count(*) AS c FROM w2 WHERE w2.n = w.n AND w.tableoid IN (SELECT oid FROM pg_class WHERE relname = 'w')) q) WHERE k < 9 RETURNING k, v;
MERGE INTO ref USING (SELECT k, tableoid AS o FROM w WHERE k < 3) s ON ref.id = s.k
    WHEN MATCHED AND ref.tableoid = 'ref'::regclass AND s.o = 'w'::regclass THEN UPDATE SET v = ref.tableoid::regclass::text || s.k;
SELECT * FROM ref;
DELETE FROM w USING w2 WHERE w2.k = w.k AND w.tableoid = 'w'::regclass AND w2.tableoid = 'w2'::regclass AND w.k > 28 RETURNING w.k, w.tableoid = 'w'::regclass;
