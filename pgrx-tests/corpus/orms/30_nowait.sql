-- NOWAIT does not wait, whether rows have copies or lie in several shards.
-- @session other
BEGIN;
SET statement_timeout = 20000;
-- @session other
SELECT id FROM author FOR UPDATE;
-- @session other
SELECT k FROM task FOR UPDATE;
-- @session
-- @error 55P03
SELECT id FROM author FOR UPDATE NOWAIT;
-- @error 55P03
SELECT a.id FROM author a JOIN publisher p ON p.id = a.id WHERE a.id = 1 FOR NO KEY UPDATE OF a NOWAIT;
-- @error 55P03
SELECT k FROM task FOR UPDATE NOWAIT;
-- @error 55P03
SELECT k FROM task WHERE k = 1 FOR SHARE NOWAIT;
-- @error 55P03
SELECT t.k FROM task t JOIN author a ON a.id = t.k % 3 + 1 ORDER BY t.k LIMIT 3 FOR UPDATE OF t NOWAIT;
-- @error 55P03
WITH l AS (SELECT id FROM author FOR UPDATE NOWAIT) UPDATE publisher SET name = 'r' WHERE id IN (SELECT id FROM l);
SELECT p.id FROM publisher p JOIN author a ON p.id = a.id FOR UPDATE OF p NOWAIT;
-- @session other
ROLLBACK;
-- @session
SELECT id FROM author FOR UPDATE NOWAIT;
SELECT k FROM task FOR UPDATE NOWAIT;
