-- What cannot be locked is refused as by PostgreSQL, wherever the query runs.
-- @error 0A000
SELECT w.k FROM w LEFT JOIN w2 ON w2.k = w.n FOR UPDATE;
-- @error 0A000
SELECT w.k FROM w LEFT JOIN w2 USING (k) FOR SHARE OF w2;
-- @error 0A000
SELECT count(*) FROM w FULL JOIN ref ON ref.id = w.k FOR UPDATE OF ref;
-- @error 0A000
SELECT q.k FROM (SELECT w.k FROM w LEFT JOIN w2 ON w2.n = w.n FOR UPDATE) q JOIN e ON e.k = q.k;
-- @error 0A000
SELECT k FROM e WHERE k IN (SELECT w.k FROM ref LEFT JOIN w ON w.k = ref.id FOR NO KEY UPDATE);
-- A condition that rows that are not there cannot fulfil makes it an inner join; the side that stays can be locked.
SELECT w.k, w2.v FROM w LEFT JOIN w2 ON w2.k = w.n + 20 WHERE w2.v <> '' FOR UPDATE;
SELECT w.k, w2.v FROM w LEFT JOIN w2 ON w2.k = w.n + 20 WHERE w.k < 9 FOR UPDATE OF w;
SELECT w.k, ref.v FROM ref RIGHT JOIN w ON w.n = ref.id WHERE w.k < 9 FOR SHARE OF w;
SELECT k FROM e WHERE k IN (SELECT w.k FROM ref JOIN w ON w.n = ref.id FOR UPDATE);
SELECT (SELECT w2.v FROM w2 LEFT JOIN ref r2 ON r2.id = w2.n WHERE w2.k = w.k + 15 FOR SHARE OF w2) FROM w WHERE w.k < 9;
CREATE VIEW sums AS SELECT n, count(*) AS c FROM w GROUP BY n;
CREATE VIEW inner_w AS SELECT w.k, w2.v FROM w JOIN w2 ON w2.n = w.n AND w2.k = w.k + 15;
-- @error 0A000
SELECT ref.id, sums.c FROM ref JOIN sums ON sums.n = ref.id FOR UPDATE;
-- @error 0A000
SELECT ref.id, inner_w.k FROM ref LEFT JOIN inner_w ON inner_w.k = ref.id FOR UPDATE;
SELECT ref.id, inner_w.k FROM ref LEFT JOIN inner_w ON inner_w.k = ref.id FOR UPDATE OF ref;
SELECT inner_w.k, inner_w.v, ref.v FROM ref JOIN inner_w ON inner_w.k = ref.id FOR UPDATE;
DROP VIEW sums, inner_w;
PREPARE locking (int) AS SELECT w.k, w2.k FROM w LEFT JOIN w2 ON w2.k = w.n + $1 WHERE w2.k > 0 FOR UPDATE;
EXECUTE locking (20);
EXECUTE locking (21);
DEALLOCATE locking;
BEGIN;
DECLARE locked CURSOR FOR SELECT w.k FROM w LEFT JOIN w2 ON w2.k = w.n + 20 WHERE w.k = 3 FOR UPDATE OF w;
FETCH ALL FROM locked;
ROLLBACK;
-- A function that is asked while such a query is planned keeps the plans of its own queries.
CREATE FUNCTION top_pair() RETURNS int LANGUAGE plpgsql STABLE AS 'DECLARE n int; BEGIN SELECT max(w.k) INTO n FROM w JOIN w2 ON w2.n = w.n; RETURN n; END';
SELECT w.k FROM w LEFT JOIN w2 ON w2.k = w.n + 20 WHERE w.k >= top_pair() FOR UPDATE OF w;
SELECT top_pair();
SELECT w.k FROM w LEFT JOIN w2 ON w2.k = w.n + 20 WHERE w.k >= top_pair() FOR UPDATE OF w;
DROP FUNCTION top_pair();
