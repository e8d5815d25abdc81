-- Whole rows of sub-queries in RETURNING.
WITH x AS (SELECT id, v FROM o WHERE id < 4) UPDATE s SET v = x.v FROM x WHERE x.id = s.k RETURNING s.k, x, to_json(x)::text;
UPDATE s SET n = y.b FROM (VALUES (1, 11), (2, 12)) y(a, b) WHERE y.a = s.k RETURNING y, y.b;
DELETE FROM s USING (SELECT k, max(n) AS m FROM p GROUP BY k) z WHERE z.k = s.k AND s.k > 38 RETURNING s.k, z;
-- MERGE whose conditions have another answer each time, and that sets nothing but a generated column.
MERGE INTO s USING o ON s.k = o.id AND o.id < 9 WHEN MATCHED AND random() < 0 THEN DELETE WHEN MATCHED AND random() < 2 THEN UPDATE SET v = o.v || s.v, n = s.n + (SELECT count(*) FROM p) WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO s USING o ON s.k = o.id + 35 WHEN MATCHED AND random() >= 0 AND s.n > 74 THEN UPDATE SET k = s.k + 5000 WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND random() >= 0 THEN INSERT (k, v, n) VALUES (o.id + 6000, o.v, 1);
INSERT INTO t (k, v, n) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
MERGE INTO t USING s ON t.k = s.k WHEN MATCHED THEN UPDATE SET twice = DEFAULT;
MERGE INTO t USING o ON t.k = o.k AND o.id = 3 WHEN MATCHED THEN UPDATE SET twice = DEFAULT;
SELECT * FROM s;
SELECT k, v, n, twice FROM t;
TRUNCATE s, t, target;
TRUNCATE o, r;
-- Upserts and merges under row-level security: the policies of the shards decide.
TRUNCATE w;
INSERT INTO w VALUES (1, 'mine', 1), (2, 'mine', 2), (3, 'theirs', 3), (4, 'hidden', 4);
INSERT INTO s VALUES (1, 'mine', 1), (2, 'theirs', 2), (7, 'mine', 7), (9, 'theirs', 9);
CREATE ROLE writing_tenant;
GRANT USAGE ON SCHEMA public TO writing_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON w TO writing_tenant;
GRANT SELECT ON s TO writing_tenant;
ALTER TABLE w ENABLE ROW LEVEL SECURITY;
CREATE POLICY w_see ON w FOR SELECT USING (v <> 'hidden');
CREATE POLICY w_add ON w FOR INSERT WITH CHECK (v <> 'theirs');
CREATE POLICY w_change ON w FOR UPDATE USING (v = 'mine') WITH CHECK (n < 100);
CREATE POLICY w_drop ON w FOR DELETE USING (v = 'mine');
SET ROLE writing_tenant;
INSERT INTO w VALUES (1, 'mine', 5) ON CONFLICT (k) DO UPDATE SET n = w.n + excluded.n RETURNING *;
INSERT INTO w VALUES (1, 'mine', 5), (2, 'mine', 6), (5, 'mine', 7) ON CONFLICT (k) DO UPDATE SET n = w.n + excluded.n RETURNING *;
INSERT INTO w SELECT k, 'mine', 8 FROM s WHERE k IN (1, 7) ON CONFLICT (k) DO UPDATE SET n = excluded.n RETURNING *;
-- @error 42501
INSERT INTO w VALUES (6, 'theirs', 5) ON CONFLICT (k) DO UPDATE SET n = 1;
-- @error 42501
INSERT INTO w VALUES (3, 'mine', 5) ON CONFLICT (k) DO UPDATE SET n = 1;
-- @error 42501
INSERT INTO w VALUES (4, 'mine', 5) ON CONFLICT (k) DO UPDATE SET n = 1;
-- @error 42501
INSERT INTO w VALUES (1, 'mine', 5) ON CONFLICT (k) DO UPDATE SET n = 500;
-- @error 42501
INSERT INTO w VALUES (1, 'mine', 5), (2, 'mine', 5), (3, 'mine', 5) ON CONFLICT (k) DO UPDATE SET n = 500;
-- @error 42501
INSERT INTO w VALUES (1, 'mine', 5), (8, 'theirs', 5) ON CONFLICT (k) DO UPDATE SET n = (SELECT max(n) FROM s);
MERGE INTO w USING (SELECT * FROM s WHERE k IN (1, 7)) s ON w.k = s.k WHEN MATCHED THEN UPDATE SET n = w.n + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.k, 'mine', 9);
-- @error 42501
MERGE INTO w USING s ON w.k = s.k WHEN MATCHED AND w.k < 3 THEN UPDATE SET n = 200;
-- @error 42501
MERGE INTO w USING s ON w.k = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.v, s.n);
RESET ROLE;
ALTER TABLE w DISABLE ROW LEVEL SECURITY;
DROP POLICY w_see ON w;
DROP POLICY w_add ON w;
DROP POLICY w_change ON w;
DROP POLICY w_drop ON w;
DROP OWNED BY writing_tenant;
DROP ROLE writing_tenant;
SELECT * FROM w;
TRUNCATE s, w;
-- A domain's new constraint tells whose values it does not fit.
INSERT INTO kinds (k, w) VALUES (900, 'known');
-- @error 23514
ALTER DOMAIN word ADD CONSTRAINT word_unknown CHECK (VALUE <> 'known');
DELETE FROM kinds WHERE k = 900;
