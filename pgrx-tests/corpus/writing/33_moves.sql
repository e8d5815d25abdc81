-- Which key is still referenced is not said: blocks take the error.
DO $$ BEGIN EXECUTE 'UPDATE kept SET k = 101 WHERE k = 1'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
DO $$ BEGIN EXECUTE 'UPDATE kept SET k = k + 1000'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
DO $$ BEGIN EXECUTE 'WITH m AS (UPDATE kept SET k = 102 WHERE k = 2 RETURNING k) SELECT * FROM m'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
DO $$ BEGIN EXECUTE 'MERGE INTO kept USING (VALUES (3), (4)) s(k) ON kept.k = s.k WHEN MATCHED THEN UPDATE SET k = s.k + 100'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
SELECT k, v FROM kept;
SELECT k, v FROM on_cascade;
-- What stays as it is may be referred to, and what nobody refers to may move.
UPDATE kept SET k = k + 0, v = 'same' WHERE k < 4 RETURNING k, v;
UPDATE kept SET k = k + 100 WHERE k > 6 RETURNING k, v;
MERGE INTO kept USING (VALUES (107, 207), (108, 208)) s(k, n) ON kept.k = s.k WHEN MATCHED THEN UPDATE SET k = s.n, v = 'merged';
DELETE FROM on_cascade WHERE k = 6;
UPDATE kept SET k = 106 WHERE k = 6 RETURNING k;
SELECT k, v FROM kept;
SELECT k, v FROM on_cascade;
DO $$ BEGIN EXECUTE 'UPDATE parent SET k = 101 WHERE k = 1'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
DO $$ BEGIN EXECUTE 'UPDATE parent SET k = k + 100, n = 0'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
UPDATE parent SET k = k + 100, n = 0 WHERE k > 6 RETURNING k, id, n;
SELECT k, id FROM on_null;
SELECT k, id, n FROM parent;
-- A tree moves as a whole or not at all.
DO $$ BEGIN EXECUTE 'UPDATE branch SET k = 101 WHERE k = 1 AND id = 1'; RAISE 'moved'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
UPDATE branch SET k = k + 100 WHERE k < 3 RETURNING k, id, up;
UPDATE branch SET k = 103 WHERE k = 3 AND id = 2 AND false;
SELECT k, id, up FROM branch;
DELETE FROM kept WHERE k = 2;
SELECT k FROM on_cascade;
DELETE FROM parent WHERE k = 2;
SELECT k, id FROM on_null;
