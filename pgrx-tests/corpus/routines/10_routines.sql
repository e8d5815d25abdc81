CREATE VIEW rich AS SELECT * FROM acc WHERE balance > 150;
SELECT * FROM rich;
SELECT count(*) FROM rich WHERE id = 20;
SELECT r.owner, count(l.seq) FROM rich r LEFT JOIN log l USING (id) GROUP BY r.owner;
CREATE VIEW per_owner AS SELECT owner, count(*) AS n, sum(balance) AS total FROM acc GROUP BY owner;
SELECT * FROM per_owner WHERE n > 4;
SELECT * FROM per_owner p JOIN acc a USING (owner) WHERE a.id = 3;
CREATE VIEW nested AS SELECT owner, total / n AS mean FROM per_owner;
SELECT max(mean) FROM nested;
CREATE TEMP VIEW tv AS SELECT l.*, k.factor FROM log l JOIN kinds k ON k.code = l.what;
SELECT what, count(factor) FROM tv GROUP BY what;
UPDATE rich SET balance = balance + 1 WHERE id = 20 RETURNING id, balance;
INSERT INTO rich VALUES (100, 'via view', 500) RETURNING *;
DELETE FROM rich WHERE id = 100;
CREATE MATERIALIZED VIEW mv AS SELECT owner, sum(balance) AS total FROM acc GROUP BY owner;
SELECT * FROM mv;
UPDATE acc SET balance = balance + 1;
REFRESH MATERIALIZED VIEW mv;
SELECT * FROM mv JOIN acc USING (owner) WHERE id = 4;
CREATE FUNCTION balance_of(who INT) RETURNS NUMERIC LANGUAGE sql STABLE AS $$SELECT balance FROM acc WHERE id = who$$;
SELECT balance_of(5), balance_of(500), balance_of(NULL);
SELECT g, balance_of(g) FROM generate_series(1, 3) g;
CREATE FUNCTION owners(min_n INT) RETURNS TABLE (owner TEXT, n BIGINT) LANGUAGE sql STABLE AS $$SELECT owner, count(*) FROM acc GROUP BY owner HAVING count(*) >= min_n$$;
SELECT * FROM owners(5);
SELECT o.owner, a.id FROM owners(1) o JOIN acc a USING (owner) WHERE a.id < 5;
CREATE FUNCTION transfer(a INT, b INT, amount NUMERIC) RETURNS NUMERIC LANGUAGE plpgsql AS $$
DECLARE left_over NUMERIC;
BEGIN
    UPDATE acc SET balance = balance - amount WHERE id = a RETURNING balance INTO left_over;
    IF NOT FOUND THEN RAISE EXCEPTION 'no account %', a USING ERRCODE = 'P0002'; END IF;
    UPDATE acc SET balance = balance + amount WHERE id = b;
    INSERT INTO log VALUES (a, 1000, 'transfer');
    RETURN left_over;
END $$;
-- @simple
SELECT transfer(1, 2, 5);
-- @simple
SELECT transfer(1, 2, 5);
-- @simple
SELECT transfer(3, 4, 5);
-- @simple
SELECT transfer(5, 6, 5);
-- @simple
SELECT transfer(7, 8, 5);
-- @simple
SELECT transfer(9, 10, 5);
-- @simple
SELECT transfer(11, 12, 5);
-- @error P0002
SELECT transfer(999, 2, 5);
SELECT * FROM acc;
SELECT * FROM log WHERE what = 'transfer';
CREATE FUNCTION total() RETURNS NUMERIC LANGUAGE plpgsql AS $$
DECLARE r RECORD; s NUMERIC := 0;
BEGIN
    FOR r IN SELECT * FROM acc ORDER BY id LOOP s := s + r.balance; END LOOP;
    RETURN s;
END $$;
SELECT total();
CREATE FUNCTION catch(i INT) RETURNS TEXT LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO acc VALUES (i, 'caught', 1);
    RETURN 'inserted';
EXCEPTION WHEN unique_violation THEN
    RETURN 'duplicate of ' || (SELECT owner FROM acc WHERE id = i);
END $$;
-- @simple
SELECT catch(1), catch(300);
SELECT catch(300);
CREATE FUNCTION lookup(t TEXT, i INT) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE v TEXT;
BEGIN
    EXECUTE format('SELECT owner FROM %I WHERE id = $1', t) INTO v USING i;
    RETURN v;
END $$;
SELECT lookup('acc', 3);
CREATE FUNCTION walk() RETURNS SETOF acc LANGUAGE plpgsql AS $$
DECLARE c CURSOR FOR SELECT * FROM acc ORDER BY id; r acc;
BEGIN
    OPEN c;
    LOOP FETCH c INTO r; EXIT WHEN NOT FOUND OR r.id > 5; RETURN NEXT r; END LOOP;
    CLOSE c;
END $$;
-- @ordered
SELECT * FROM walk();
CREATE FUNCTION query_owner(o TEXT) RETURNS SETOF acc LANGUAGE plpgsql AS $$BEGIN RETURN QUERY SELECT * FROM acc WHERE owner = o; END $$;
SELECT * FROM query_owner('owner2');
CREATE PROCEDURE raise_all(p NUMERIC) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE acc SET balance = balance * p WHERE id % 2 = 0;
    COMMIT;
    UPDATE acc SET balance = balance * p WHERE id % 2 = 1;
    ROLLBACK;
END $$;
CALL raise_all(2);
SELECT * FROM acc;
DO $$
DECLARE n BIGINT;
BEGIN
    SELECT count(*) INTO n FROM acc;
    INSERT INTO log VALUES (1, n::int, 'do');
    DELETE FROM log WHERE id = 2;
    PERFORM 1 FROM acc WHERE id = 1 FOR UPDATE;
END $$;
SELECT * FROM log WHERE what = 'do';
CREATE FUNCTION tax(NUMERIC) RETURNS NUMERIC LANGUAGE sql IMMUTABLE AS $$SELECT $1 * 0.19$$;
SELECT id, tax(balance) FROM acc WHERE id < 4;
SELECT sum(tax(balance)) FROM acc;
CREATE FUNCTION is_even(INT) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN $1 % 2 = 0; END $$;
SELECT count(*) FROM acc WHERE is_even(id);
SELECT is_even(id), count(*) FROM acc GROUP BY 1;
CREATE FUNCTION at_zone() RETURNS TEXT LANGUAGE sql STABLE SET timezone = 'Asia/Tokyo' AS $$SELECT max((timestamptz '2025-01-01 00:00+00' + id * interval '1 hour')::text) FROM acc WHERE id < 5$$;
SELECT at_zone();
PREPARE by_id(INT) AS SELECT * FROM acc WHERE id = $1;
EXECUTE by_id(1);
EXECUTE by_id(2);
EXECUTE by_id(3);
EXECUTE by_id(4);
EXECUTE by_id(5);
EXECUTE by_id(6);
EXECUTE by_id(NULL);
PREPARE up(NUMERIC, INT) AS UPDATE acc SET balance = $1 WHERE id = $2 RETURNING *;
EXECUTE up(1, 1);
EXECUTE up(2, 2);
EXECUTE up(3, 3);
EXECUTE up(4, 4);
EXECUTE up(5, 5);
EXECUTE up(6, 6);
EXECUTE up(7, 7);
PREPARE agg AS SELECT count(*), sum(balance) FROM acc;
EXECUTE agg;
DELETE FROM acc WHERE id = 7;
EXECUTE agg;
ALTER TABLE acc ADD COLUMN extra INT DEFAULT 3;
EXECUTE agg;
-- @error 0A000
EXECUTE by_id(1);
DEALLOCATE ALL;
SET plan_cache_mode = force_generic_plan;
PREPARE gen(INT, TEXT) AS SELECT a.id, l.seq FROM acc a JOIN log l USING (id) WHERE a.id = $1 AND l.what = $2;
EXECUTE gen(1, 'w1');
EXECUTE gen(2, 'w2');
PREPARE gen2(INT[]) AS SELECT count(*) FROM acc WHERE id = ANY ($1);
EXECUTE gen2('{1,2,3}');
EXECUTE gen2('{}');
RESET plan_cache_mode;
CREATE TEMP TABLE tmp AS SELECT * FROM acc WHERE id < 10;
SELECT count(*) FROM tmp JOIN acc USING (id);
CREATE TABLE copy_of AS SELECT owner, sum(balance) AS b FROM acc GROUP BY owner;
SELECT * FROM copy_of;
SELECT id, balance INTO other_copy FROM acc WHERE id > 25;
SELECT count(*) FROM other_copy;
CREATE TABLE like_acc (LIKE acc INCLUDING ALL);
INSERT INTO like_acc SELECT * FROM acc;
SELECT count(*) FROM like_acc l JOIN acc a ON a.id = l.id AND a.balance = l.balance;
-- Parameters among the arguments of functions in FROM, in another order than elsewhere.
PREPARE f1(INT, INT) AS SELECT a.id, g FROM acc a, generate_series(a.id, a.id + $2) g WHERE a.id <> $1;
EXECUTE f1(3, 2);
PREPARE f2(INT, INT) AS SELECT sum(g), count(*) FROM acc a, generate_series(a.id, a.id + $1) g WHERE a.id <> $2;
EXECUTE f2(1, 5);
PREPARE f3(INT, INT) AS SELECT g.*, a.id FROM acc a, ROWS FROM (generate_series(1, $2), unnest(ARRAY[a.id, $1])) g WHERE a.id < $2 + 4;
EXECUTE f3(7, 2);
PREPARE f4(INT, INT) AS SELECT c, a.id FROM acc a, coalesce($2, a.id) c WHERE a.id <> $1;
EXECUTE f4(5, NULL);
EXECUTE f4(5, 9);
PREPARE f5(INT, JSONB) AS SELECT a.id, j.value FROM acc a, jsonb_each(CASE jsonb_typeof($2) WHEN 'object' THEN $2 END) j WHERE a.id > $1;
EXECUTE f5(2, '{"a": 1}');
EXECUTE f5(2, '[1]');
PREPARE f6(INT, JSONB) AS SELECT count(*) FROM jsonb_each(CASE jsonb_typeof($2) WHEN 'object' THEN $2 END) j;
EXECUTE f6(2, '{"a": 1}');
PREPARE f7(INT, INT, INT) AS SELECT a.id FROM acc a WHERE a.id IN (SELECT g FROM generate_series(a.id - $3, a.id + $2) g WHERE g > $1);
EXECUTE f7(3, 0, 1);
CREATE FUNCTION spread(i INT, n INT) RETURNS SETOF INT LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY SELECT g FROM acc a, generate_series(a.id, a.id + n) g WHERE a.id = i; END $$;
SELECT * FROM spread(2, 3);
