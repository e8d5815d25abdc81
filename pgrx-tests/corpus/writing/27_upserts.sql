-- Whole rows in ON CONFLICT: only rows that differ are written.
INSERT INTO w AS i VALUES (1, 'w1', 2), (2, 'new', 2) ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n WHERE i.* IS DISTINCT FROM excluded.* RETURNING *;
INSERT INTO w AS i VALUES (1, 'w1', 2) ON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE i IS DISTINCT FROM excluded RETURNING *;
INSERT INTO w AS i VALUES (3, NULL, 6), (4, NULL, 9) ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n WHERE i.* <> excluded.* RETURNING *;
INSERT INTO w VALUES (3, NULL, 6), (4, NULL, 9) ON CONFLICT (k) DO UPDATE SET n = w.n + 1 WHERE w.* <> excluded.* RETURNING *;
INSERT INTO w VALUES (3, NULL, 6), (5, 'five', 5) ON CONFLICT (k) DO UPDATE SET n = w.n + 1 WHERE w.* = excluded.* OR NOT (excluded.* IS NOT NULL) RETURNING *;
INSERT INTO w VALUES (6, 'six', 6) ON CONFLICT (k) DO UPDATE SET v = excluded::text || w::text RETURNING *;
INSERT INTO w SELECT k, v, 1 FROM s WHERE k < 9 ON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE (w.*) IS DISTINCT FROM (excluded.*) RETURNING *;
INSERT INTO r AS i (id, name) VALUES (1, 'red'), (2, 'lime') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE i.* IS DISTINCT FROM excluded.* RETURNING *;
SELECT * FROM w;
-- The right to update a generated column is enough to set it to its default.
CREATE ROLE writing_generated;
GRANT USAGE ON SCHEMA public TO writing_generated;
GRANT SELECT, UPDATE (g) ON parts TO writing_generated;
INSERT INTO parts (k) VALUES (90), (91);
SET ROLE writing_generated;
UPDATE parts SET g = DEFAULT WHERE k = 90;
UPDATE parts SET g = DEFAULT WHERE k IN (90, 91) RETURNING k, g;
-- @error 42501
UPDATE parts SET a = DEFAULT WHERE k = 90;
RESET ROLE;
DELETE FROM parts;
DROP OWNED BY writing_generated;
DROP ROLE writing_generated;
