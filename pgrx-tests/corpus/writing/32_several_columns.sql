-- Several columns at once are given their values in whatever order they are named.
UPDATE wide SET (b, a) = (SELECT 22, 11);
UPDATE wide SET (c, a) = ROW (33, 12) WHERE k = 1;
UPDATE wide SET (c, b, a) = (SELECT 3, 2, 1) WHERE k = 2;
UPDATE wide SET t = 'mixed', (c, b) = (SELECT 300 + x.k, 20 FROM wide x WHERE x.k = wide.k), a = 7 WHERE k IN (3, 4);
UPDATE wide SET (t, c) = (SELECT 'first', 5), n = 1.5, (b, a) = (SELECT x.k * 2, x.k * 3 FROM wide x WHERE x.k = wide.k) RETURNING k, a, b, c, t, n;
UPDATE wide SET (n, t, b) = (SELECT 2::smallint, 17, 4.4), (c, a) = (SELECT 9::smallint, 8::bigint) WHERE k = 5 RETURNING *;
UPDATE wide SET (n, l[2], a) = (SELECT 3, 44, 55) WHERE k = 6 RETURNING *;
UPDATE wide SET (l[1], a) = (SELECT 66, 77), l[2] = 88 WHERE k < 4 RETURNING *;
UPDATE wide SET (t, c, a) = (SELECT o.v, o.id, count(*) OVER () FROM o WHERE o.k = wide.k ORDER BY o.id LIMIT 1) WHERE k < 8 RETURNING k, a, c, t;
UPDATE wide SET (c, b) = (SELECT r.c + 1, r.a FROM wide_r r WHERE r.k = wide.k) FROM s WHERE s.k = wide.k AND wide.k < 9 RETURNING wide.k, wide.b, wide.c;
UPDATE wide SET (b, a) = (SELECT s.k, s.k * 2 FROM s WHERE s.k = wide.k), (t, c) = (SELECT max(s.v), count(*) FROM s) WHERE k > 9 RETURNING k, a, b, c, t;
UPDATE wide SET (c, k) = (SELECT 1, wide.k + 100) WHERE k = 12 RETURNING k, c;
UPDATE wide_r SET (b, a) = (SELECT 22, 11);
UPDATE wide_r SET (n, b, a) = (SELECT x.k, x.k * 2, x.k * 3 FROM wide x WHERE x.k = wide_r.k), t = 'r' WHERE k < 6 RETURNING k, a, b, n, t;
UPDATE wide_r SET (c, t) = (SELECT sum(k), 'all' FROM wide_r), (b, a) = (SELECT 1, 2) RETURNING k, a, b, c, t;
-- @params 5, 1, 2
-- @params 7, 3, 4
-- @params 99, 5, 6
UPDATE wide SET (c, a) = (SELECT $2::int, $3::int + count(*) FROM wide_r WHERE wide_r.k < wide.k) WHERE k = $1;
WITH changed AS (UPDATE wide SET (t, b, a) = (SELECT 'with', 5, 6) WHERE k < 5 RETURNING k, a, b, t) SELECT * FROM changed;
INSERT INTO wide (k, a, b, c) VALUES (1, 0, 0, 0), (101, 1, 1, 1) ON CONFLICT (k) DO UPDATE SET (t, b, a) = (SELECT 'again', 15, 16) RETURNING k, a, b, t;
INSERT INTO wide (k, a, b) VALUES (1, 90, 91), (2, 92, 93) ON CONFLICT (k) DO UPDATE SET (c, b, a) = ROW (wide.c + 1, excluded.a, excluded.b) RETURNING k, a, b, c;
INSERT INTO wide (k, a, b) VALUES (2, 90, 91), (3, 92, 93) ON CONFLICT (k) DO UPDATE SET (c, t, a) = (SELECT r.k, r.t, excluded.b FROM wide_r r WHERE r.k = wide.k) RETURNING k, a, c, t;
INSERT INTO wide_r (k, a, b) VALUES (3, 90, 91), (4, 92, 93) ON CONFLICT (k) DO UPDATE SET (c, b, a) = (SELECT 1, excluded.a, excluded.b) RETURNING k, a, b, c;
INSERT INTO wide SELECT * FROM wide_r WHERE k < 3 ON CONFLICT (k) DO UPDATE SET (n, c, b) = (SELECT 4, 5, 6) RETURNING k, b, c, n;
MERGE INTO wide USING s ON s.k = wide.k WHEN MATCHED AND s.k < 4 THEN UPDATE SET (c, b, a) = (SELECT s.k, s.k * 2, s.k * 3), t = 'merged'
    WHEN MATCHED AND s.k < 7 THEN UPDATE SET t = 'other', b = 1, a = 2;
MERGE INTO wide USING s ON s.k + 1 = wide.k WHEN MATCHED AND s.k < 4 THEN UPDATE SET (c, b, a) = (SELECT s.k, s.k * 2, s.k * 3), t = 'moved';
MERGE INTO wide_r USING s ON s.k = wide_r.k WHEN MATCHED AND s.k < 4 THEN UPDATE SET (c, b, a) = (SELECT s.k, s.k * 2, s.k * 3), t = 'merged';
CREATE VIEW turned AS SELECT t, c, b, a, k FROM wide;
UPDATE turned SET (b, t, a) = (SELECT 1, 'view', 2) WHERE k = 3 RETURNING *;
UPDATE turned SET (a, b) = (SELECT o.id, o.k FROM o ORDER BY o.id LIMIT 1) WHERE k = 4 RETURNING *;
DROP VIEW turned;
ALTER TABLE wide DROP COLUMN b;
ALTER TABLE wide ADD COLUMN b INT;
UPDATE wide SET (b, c, a) = (SELECT 1, 2, 3) WHERE k < 4 RETURNING *;
