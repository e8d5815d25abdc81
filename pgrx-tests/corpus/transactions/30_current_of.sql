-- WHERE CURRENT OF: the row that the cursor gave last.
BEGIN;
DECLARE c CURSOR FOR SELECT k, v FROM x WHERE k < 9 ORDER BY k FOR UPDATE;
-- @error 24000
UPDATE x SET v = 'none' WHERE CURRENT OF c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT k, v FROM x WHERE k < 9 ORDER BY k FOR UPDATE;
-- @ordered
FETCH 2 FROM c;
UPDATE x SET v = v || ' current', n = n + 1 WHERE CURRENT OF c RETURNING k, v, n;
-- Again, what the same transaction has changed since.
UPDATE x SET n = n + 1 WHERE CURRENT OF c RETURNING k, v, n;
UPDATE x SET v = 'other' WHERE k = 2;
UPDATE x SET n = n + 1 WHERE CURRENT OF c RETURNING *;
-- @ordered
FETCH c;
DELETE FROM x WHERE CURRENT OF c RETURNING *;
DELETE FROM x WHERE CURRENT OF c;
-- @ordered
FETCH c;
UPDATE x SET n = (SELECT count(*) FROM y WHERE y.k = x.k), v = (SELECT max(v) FROM loc) WHERE CURRENT OF c RETURNING *;
-- @ordered
FETCH c;
UPDATE x SET k = 1000 WHERE CURRENT OF c RETURNING *;
-- @ordered
FETCH ALL FROM c;
-- @error 24000
DELETE FROM x WHERE CURRENT OF c;
ROLLBACK;
-- One shard, and a cursor without an order.
BEGIN;
DECLARE one CURSOR FOR SELECT * FROM x WHERE k = 7 FOR NO KEY UPDATE;
FETCH one;
UPDATE x SET v = 'seven' WHERE CURRENT OF one RETURNING k, v;
CLOSE one;
-- @error 34000
UPDATE x SET v = 'seven' WHERE CURRENT OF one;
ROLLBACK;
BEGIN;
DECLARE any_order CURSOR FOR SELECT v FROM y WHERE v = 'y5' FOR SHARE;
FETCH any_order;
DELETE FROM y WHERE CURRENT OF any_order RETURNING k;
SELECT count(*) FROM y;
ROLLBACK;
-- Names that have to be quoted, a savepoint, and the row as it was before it.
BEGIN;
DECLARE "Odd ""name""" CURSOR FOR SELECT k FROM x WHERE k < 4 ORDER BY k FOR UPDATE;
-- @ordered
FETCH FROM "Odd ""name""";
SAVEPOINT a;
UPDATE x SET n = 500 WHERE CURRENT OF "Odd ""name""" RETURNING k, n;
ROLLBACK TO a;
UPDATE x SET n = n + 1 WHERE CURRENT OF "Odd ""name""" RETURNING k, n;
COMMIT;
-- Reference tables.
BEGIN;
DECLARE c CURSOR FOR SELECT v FROM z ORDER BY id FOR UPDATE;
-- @ordered
FETCH c;
UPDATE z SET v = v || '!' WHERE CURRENT OF c RETURNING *;
UPDATE z SET v = v || '!' WHERE CURRENT OF c RETURNING *;
-- @ordered
FETCH c;
DELETE FROM z WHERE CURRENT OF c RETURNING *;
COMMIT;
SELECT * FROM z;
-- Functions: bound and unbound cursors, and a loop.
CREATE FUNCTION walk(lowest int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE c CURSOR FOR SELECT k, n FROM x WHERE k >= lowest ORDER BY k FOR UPDATE; r record; u refcursor; done int := 0;
BEGIN
    FOR r IN c LOOP
        IF r.k % 2 = 0 THEN UPDATE x SET v = 'even ' || r.k, n = r.n + 1 WHERE CURRENT OF c;
        ELSIF r.k % 5 = 0 THEN DELETE FROM x WHERE CURRENT OF c; done := done + 1; END IF;
    END LOOP;
    OPEN u FOR SELECT v FROM x WHERE k = 8 FOR UPDATE;
    FETCH u INTO r;
    UPDATE x SET v = v || ' by u' WHERE CURRENT OF u;
    CLOSE u;
    RETURN done;
END $$;
BEGIN;
-- @simple
SELECT walk(5);
-- @simple
SELECT walk(1);
ROLLBACK;
DROP FUNCTION walk(int);
-- What is no place of a row.
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT k FROM x ORDER BY k;
-- @ordered
FETCH h;
COMMIT;
-- @error 24000
UPDATE x SET n = 1 WHERE CURRENT OF h;
CLOSE h;
-- @error 34000
UPDATE x SET n = 1 WHERE CURRENT OF nobody;
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM y FOR UPDATE;
-- @rows
FETCH c;
-- @error 24000
UPDATE x SET n = 1 WHERE CURRENT OF c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT count(*) FROM x;
FETCH c;
-- @error 24000
UPDATE x SET n = 1 WHERE CURRENT OF c;
ROLLBACK;
SELECT * FROM x;
-- What stands for the name of a shard in a text does not take the place of a value.
UPDATE x SET v = 'citus name of the shard' WHERE k = 3;
SELECT a.k, b.k FROM x a, x b WHERE a.v = 'citus name of the shard' AND b.k < 9 AND b.k <> a.k;
