-- WITH HOLD: rows that were not fetched before the commit.
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT k, v FROM t ORDER BY k;
-- @ordered
FETCH 3 FROM h;
UPDATE t SET v = 'later' WHERE k = 5;
COMMIT;
-- @ordered
FETCH 3 FROM h;
UPDATE t SET v = 'later still' WHERE k = 8;
-- @ordered
FETCH ALL FROM h;
CLOSE h;
UPDATE t SET v = 't' || k;
-- Without a transaction block.
DECLARE h CURSOR WITH HOLD FOR SELECT k FROM t WHERE k % 2 = 0 ORDER BY k;
-- @ordered
FETCH 5 FROM h;
MOVE 3 IN h;
-- @ordered
FETCH NEXT FROM h;
-- @ordered
FETCH ABSOLUTE 2 FROM h;
CLOSE h;
-- @error 25P01
DECLARE c CURSOR FOR SELECT k FROM t;
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT t.k, u.n FROM t JOIN u USING (k) ORDER BY t.k, u.n;
-- @ordered
FETCH FORWARD 5 FROM h;
-- @ordered
FETCH BACKWARD 2 FROM h;
-- @ordered
FETCH LAST FROM h;
-- @ordered
FETCH RELATIVE -3 FROM h;
MOVE BACKWARD ALL IN h;
-- @ordered
FETCH FIRST FROM h;
MOVE FORWARD 7 IN h;
-- @ordered
FETCH FORWARD 2 FROM h;
CLOSE h;
-- NO SCROLL refuses to go back, across the commit, too.
BEGIN;
DECLARE h NO SCROLL CURSOR WITH HOLD FOR SELECT k FROM t ORDER BY k;
-- @ordered
FETCH 2 FROM h;
-- @ordered
FETCH 1 FROM h;
COMMIT;
-- @ordered
FETCH 2 FROM h;
-- @error 55000
FETCH BACKWARD 1 FROM h;
-- @error 55000
FETCH 2 FROM h;
CLOSE h;
BEGIN;
DECLARE h NO SCROLL CURSOR WITH HOLD FOR SELECT k FROM t ORDER BY k;
-- @ordered
FETCH 2 FROM h;
SAVEPOINT s;
-- @error 55000
FETCH BACKWARD 1 FROM h;
ROLLBACK TO s;
-- @error 55000
FETCH 1 FROM h;
ROLLBACK;
-- The rows that are read at the commit fail: nothing is committed.
BEGIN;
UPDATE t SET v = 'lost' WHERE k = 1;
DECLARE h CURSOR WITH HOLD FOR SELECT fail_at(k, 55) FROM t ORDER BY k;
-- @ordered
FETCH 2 FROM h;
-- @error P0009
COMMIT;
SELECT v FROM t WHERE k = 1;
-- @error 34000
FETCH 1 FROM h;
-- A rollback takes the cursor away.
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT k FROM t;
ROLLBACK;
-- @error 34000
FETCH 1 FROM h;
-- A held cursor and one that is not, over a savepoint.
BEGIN;
DECLARE a CURSOR WITH HOLD FOR SELECT k FROM t ORDER BY k;
DECLARE b CURSOR FOR SELECT k FROM u ORDER BY k, n;
SAVEPOINT s;
DECLARE c CURSOR FOR SELECT id FROM r ORDER BY id;
-- @ordered
FETCH 2 FROM a;
-- @ordered
FETCH 2 FROM b;
-- @ordered
FETCH 2 FROM c;
ROLLBACK TO s;
-- @ordered
FETCH 2 FROM a;
-- @ordered
FETCH 2 FROM b;
SAVEPOINT s2;
-- @error 34000
FETCH 2 FROM c;
ROLLBACK TO s2;
COMMIT;
-- @ordered
FETCH 2 FROM a;
-- @error 34000
FETCH 2 FROM b;
CLOSE ALL;
-- A held cursor over a query of one shard, over an aggregate, over a reference table.
BEGIN;
DECLARE a CURSOR WITH HOLD FOR SELECT v FROM t WHERE k = 7;
DECLARE b CURSOR WITH HOLD FOR SELECT count(*), sum(n) FROM t;
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM r ORDER BY id;
DECLARE d CURSOR WITH HOLD FOR SELECT l.k, t.v FROM l JOIN t USING (k) ORDER BY l.k;
COMMIT;
FETCH ALL FROM a;
FETCH ALL FROM b;
-- @ordered
FETCH ALL FROM c;
-- @ordered
FETCH ALL FROM d;
-- @simple
SELECT name, is_holdable FROM pg_cursors ORDER BY name;
CLOSE ALL;
-- Changing the current row of a cursor.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM r ORDER BY id FOR UPDATE;
-- @ordered
FETCH 2 FROM c;
ROLLBACK;
-- Cursors in PL/pgSQL: bound, with arguments, scrolling, over an exception.
DO $$ DECLARE
    c CURSOR (low INT) FOR SELECT k, v FROM t WHERE k >= low ORDER BY k;
    row RECORD;
    seen TEXT := '';
BEGIN
    OPEN c(55);
    FETCH c INTO row;
    seen := seen || row.k;
    MOVE FORWARD 2 FROM c;
    FETCH c INTO row;
    seen := seen || ',' || row.k;
    BEGIN
        UPDATE t SET n = 5000 WHERE k = row.k;
    EXCEPTION WHEN check_violation THEN seen := seen || ',no'; END;
    FETCH c INTO row;
    seen := seen || ',' || row.k;
    CLOSE c;
    FOR row IN c(58) LOOP
        UPDATE t SET v = 'seen' WHERE k = row.k;
        seen := seen || ',' || row.k;
    END LOOP;
    INSERT INTO l VALUES (200, seen);
END $$;
SELECT v FROM l WHERE k = 200;
SELECT k, v FROM t WHERE v = 'seen';
DO $$ DECLARE
    c SCROLL CURSOR FOR SELECT k FROM t ORDER BY k;
    a INT; b INT; d INT;
BEGIN
    OPEN c;
    FETCH LAST FROM c INTO a;
    FETCH PRIOR FROM c INTO b;
    FETCH ABSOLUTE 3 FROM c INTO d;
    INSERT INTO l VALUES (201, a || ',' || b || ',' || d);
END $$;
SELECT v FROM l WHERE k = 201;
-- Cursors that a function hands out.
CREATE FUNCTION hand_out(name refcursor, low INT) RETURNS refcursor LANGUAGE plpgsql AS $$
BEGIN
    OPEN name FOR SELECT k, v FROM t WHERE k > low ORDER BY k;
    RETURN name;
END $$;
BEGIN;
-- @simple
SELECT hand_out('one', 50);
-- @simple
SELECT hand_out('two', 55);
-- @ordered
FETCH 3 FROM one;
-- @ordered
FETCH 3 FROM two;
-- @ordered
FETCH ALL FROM one;
CLOSE one;
-- @error 34000
FETCH 1 FROM one;
ROLLBACK;
BEGIN;
-- @simple
SELECT hand_out('three', 50);
COMMIT;
-- @error 34000
FETCH 1 FROM three;
CREATE FUNCTION drain(c refcursor) RETURNS INT LANGUAGE plpgsql AS $$
DECLARE k INT; v TEXT; total INT := 0;
BEGIN
    LOOP
        FETCH c INTO k, v;
        EXIT WHEN NOT FOUND;
        total := total + k;
    END LOOP;
    RETURN total;
END $$;
BEGIN;
-- @simple
SELECT drain(hand_out('four', 57));
-- @error 42P03
SELECT hand_out('four', 57);
ROLLBACK;
DELETE FROM l WHERE k >= 100;
UPDATE t SET v = 't' || k;
-- A query that fails late, while its loop's statements use the same sessions and catch every error:
-- none of them swallows what is not its own, and no row is missing silently.
-- @error 22012
DO $$ DECLARE row RECORD; BEGIN
    FOR row IN SELECT k, 1 / (k - 50) AS x FROM t LOOP
        BEGIN
            INSERT INTO u VALUES (row.k, 1000);
        EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
END $$;
SELECT count(*) FROM u WHERE n = 1000;
CREATE FUNCTION try_one(i INT) RETURNS INT LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO u VALUES (i, 1000);
    RETURN i;
EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
-- @error 22012
SELECT count(try_one(k)), count(x) FROM (SELECT k, 1 / (k - 50) AS x FROM t OFFSET 0) s;
SELECT count(*) FROM u WHERE n = 1000;
-- SCROLL where one node answers the whole query.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v FROM r ORDER BY id;
-- @ordered
FETCH LAST FROM c;
-- @ordered
FETCH BACKWARD 2 FROM c;
MOVE FIRST IN c;
-- @ordered
FETCH RELATIVE 2 FROM c;
-- @ordered
FETCH BACKWARD ALL FROM c;
CLOSE c;
DECLARE c SCROLL CURSOR FOR SELECT k, v FROM t WHERE k = 7;
-- @ordered
FETCH ALL FROM c;
-- @ordered
FETCH PRIOR FROM c;
DECLARE d SCROLL CURSOR WITH HOLD FOR SELECT u.n FROM t JOIN u USING (k) WHERE k = 7 ORDER BY u.n;
COMMIT;
-- @ordered
FETCH LAST FROM d;
-- @ordered
FETCH BACKWARD ALL FROM d;
CLOSE d;
DO $$
DECLARE c SCROLL CURSOR (x INT) FOR SELECT n FROM u WHERE k = x ORDER BY n;
    a INT; b INT;
BEGIN
    OPEN c(7);
    FETCH LAST FROM c INTO a;
    FETCH PRIOR FROM c INTO b;
    UPDATE t SET v = concat(a, ' after ', b) WHERE k = 7;
    CLOSE c;
END $$;
SELECT v FROM t WHERE k = 7;
UPDATE t SET v = 't7' WHERE k = 7;
