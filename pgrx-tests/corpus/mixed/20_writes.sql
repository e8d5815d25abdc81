UPDATE big SET val = val + 1 WHERE grp = 3;
UPDATE big b SET txt = d.label FROM dim d WHERE d.grp = b.grp AND b.k = 5;
UPDATE big b SET val = q.s FROM (SELECT k, sum(n) AS s FROM other GROUP BY k) q WHERE q.k = b.k AND b.id % 50 = 0 RETURNING b.k, b.id, b.val;
UPDATE big b SET txt = a.name FROM apart a WHERE a.id = b.id;
UPDATE big SET doc = jsonb_set(doc, '{b,c}', to_jsonb(k)), tags = tags || 'new'::text WHERE id IN (SELECT id FROM apart WHERE grp = 2);
DELETE FROM big b USING apart a WHERE a.id = b.id AND a.grp = 7 RETURNING b.id;
DELETE FROM other WHERE k NOT IN (SELECT k FROM big);
INSERT INTO other SELECT k, count(*), max(txt) FROM big GROUP BY k;
INSERT INTO apart SELECT id + 10000, grp, txt FROM big WHERE k = 8;
INSERT INTO big (k, id, val) SELECT k, id + 100000, val FROM big WHERE grp = 5 ON CONFLICT DO NOTHING;
INSERT INTO big (k, id, grp) SELECT grp, id, 1 FROM apart WHERE id < 100 ON CONFLICT (k, id) DO UPDATE SET txt = 'conflict ' || excluded.id, grp = excluded.grp + coalesce(big.grp, 0);
INSERT INTO dim SELECT 100 + max(grp), 'max', 0 FROM big;
INSERT INTO loc SELECT grp, sum(val) FROM big GROUP BY grp;
DELETE FROM loc WHERE grp IN (SELECT grp FROM dim WHERE parent IS NULL) RETURNING grp;
WITH moved AS (DELETE FROM other WHERE n = 2 RETURNING k, note), added AS (INSERT INTO apart SELECT 20000 + row_number() OVER (ORDER BY k, note), 0, note FROM moved RETURNING id)
SELECT count(*), min(id), max(id) FROM added;
WITH up AS (UPDATE big SET val = 0 WHERE k = 11 RETURNING id, grp) UPDATE apart a SET name = 'seen' FROM up WHERE up.id = a.id;
MERGE INTO other o USING (SELECT k, sum(val) AS s FROM big WHERE k < 10 GROUP BY k) q ON o.k = q.k AND o.n = 1 WHEN MATCHED THEN UPDATE SET note = q.s::text WHEN NOT MATCHED THEN INSERT VALUES (q.k, 99, 'merged');
BEGIN;
CREATE TEMP TABLE picked ON COMMIT DROP AS SELECT k, id FROM big WHERE grp = 6;
DELETE FROM big b USING picked p WHERE p.k = b.k AND p.id = b.id;
SELECT count(*) FROM big WHERE grp = 6;
SAVEPOINT one;
INSERT INTO big (k, id, grp) SELECT k, id, 6 FROM picked;
ROLLBACK TO one;
SELECT count(*) FROM big;
COPY other FROM STDIN;
1	1	in block
200	2	in block
\.
UPDATE other SET note = note || '!' WHERE note = 'in block' RETURNING *;
COMMIT;
BEGIN;
LOCK TABLE other IN EXCLUSIVE MODE;
SELECT k, count(*) FROM other GROUP BY k HAVING count(*) > 8;
ALTER TABLE other ADD COLUMN extra INT DEFAULT 1;
UPDATE other SET extra = n WHERE k = 4;
INSERT INTO other (k, extra) VALUES (4, 44), (5, 55);
SELECT sum(extra) FROM other;
TRUNCATE apart;
INSERT INTO apart VALUES (1, 1, 'one');
SELECT * FROM apart JOIN other ON other.k = apart.id WHERE other.n = 1;
ROLLBACK;
SELECT count(*) FROM apart;
CREATE FUNCTION bump(p INT) RETURNS INT LANGUAGE plpgsql AS $$
DECLARE r RECORD; n INT := 0;
BEGIN
    FOR r IN SELECT id, val FROM big WHERE k = p ORDER BY id LOOP
        UPDATE big SET val = r.val + 1 WHERE k = p AND id = r.id;
        n := n + 1;
    END LOOP;
    BEGIN
        INSERT INTO big (k, id) SELECT k, id FROM big WHERE k = p LIMIT 1;
    EXCEPTION WHEN unique_violation THEN
        n := n + 1000;
    END;
    RETURN n;
END $$;
-- @simple
SELECT bump(9);
SELECT sum(val) FROM big WHERE k = 9;
-- @error 22012
UPDATE big SET val = 1 / (k - 50);
-- @error 22P02
UPDATE big SET grp = txt::int WHERE k > 5;
SELECT count(*), sum(val) FROM big;
