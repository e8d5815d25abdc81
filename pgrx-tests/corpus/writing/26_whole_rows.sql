-- Whole rows beside the place of a row: conditions and values that only this node can compute.
CREATE TYPE key_only AS (k INT);
CREATE FUNCTION key_of(r s) RETURNS key_only LANGUAGE sql AS 'SELECT $1.k';
CREATE FUNCTION text_of(r s) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN r.v || ''/'' || r.n; END';
UPDATE s SET v = 'by row', n = i.x FROM (VALUES (3, 30), (4, 40), (99, 1)) i (k, x) WHERE key_of(s.*) = row(i.k)::key_only;
UPDATE s SET v = 'row ' || i.x FROM unnest(ARRAY[5, 6]) i (x) WHERE key_of(s) = row(i.x)::key_only RETURNING s.*, i.x;
UPDATE s SET v = text_of(s) || i.x FROM (SELECT max(id) AS x FROM o) i WHERE s.k IN (7, 8) RETURNING s, text_of(s);
DELETE FROM s USING (VALUES (9), (10)) i (k) WHERE key_of(s.*) = row(i.k)::key_only RETURNING s.k;
DELETE FROM s USING o WHERE text_of(s) = 'by row/30' AND o.id = s.k;
SELECT * FROM s;
ALTER TABLE s ADD COLUMN gone INT DEFAULT 1;
ALTER TABLE s DROP COLUMN gone;
UPDATE s SET v = 'after' FROM (VALUES (11)) i (k) WHERE key_of(s.*) = row(i.k)::key_only RETURNING s.*;
SELECT s FROM s WHERE k IN (11, 12) FOR UPDATE;
DROP FUNCTION key_of(s);
DROP FUNCTION text_of(s);
DROP TYPE key_only;
-- Check options of views some of which have no condition.
CREATE VIEW all_s AS SELECT * FROM s WITH CHECK OPTION;
CREATE VIEW some_s AS SELECT * FROM all_s WHERE k > 100;
CREATE VIEW checked_s AS SELECT * FROM some_s WITH CHECK OPTION;
INSERT INTO all_s VALUES (-1, 'all');
INSERT INTO some_s VALUES (-2, 'some');
-- @error 44000
INSERT INTO checked_s VALUES (-3, 'none');
INSERT INTO checked_s VALUES (103, 'checked'), (104, 'checked');
UPDATE all_s SET n = n + 1 WHERE k = 103 RETURNING *;
UPDATE checked_s SET n = n + 1 RETURNING *;
SELECT * FROM s WHERE k < 0 OR k > 100;
DROP VIEW all_s CASCADE;
