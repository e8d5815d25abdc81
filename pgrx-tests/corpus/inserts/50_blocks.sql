BEGIN;
INSERT INTO dst (k, v, n) SELECT k, 'block', n FROM src;
SELECT count(*), sum(n) FROM dst WHERE v = 'block';
INSERT INTO dst (k, v, n) SELECT k, 'second', n + 1 FROM dst WHERE v = 'block';
UPDATE dst SET n = 0 WHERE v = 'second' AND k < 10;
SAVEPOINT s;
INSERT INTO dst (k, v, n) SELECT k, 'third', n FROM dst WHERE v = 'second';
ROLLBACK TO s;
SELECT v, count(*), sum(n) FROM dst WHERE v IN ('block', 'second', 'third') GROUP BY v;
SAVEPOINT t;
-- @error 23505
INSERT INTO dst (k, v, n) SELECT k, 'block', n FROM src WHERE k > 40;
ROLLBACK TO t;
INSERT INTO dst (k, v, n) SELECT k, 'fourth', n FROM src WHERE k = 4 RETURNING *;
INSERT INTO nul SELECT 'fifth', k FROM dst WHERE v = 'fourth' RETURNING *;
COMMIT;
SELECT v, count(*), sum(n) FROM dst WHERE v IN ('block', 'second', 'third', 'fourth') GROUP BY v;
BEGIN;
INSERT INTO nul SELECT 'lost', k FROM src;
SELECT count(*) FROM nul WHERE v = 'lost';
ROLLBACK;
SELECT count(*) FROM nul WHERE v = 'lost';
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO nul SELECT 'rr', k FROM src;
INSERT INTO nul SELECT 'rr2', k FROM nul WHERE v = 'rr';
COMMIT;
SELECT v, count(*) FROM nul WHERE v LIKE 'rr%' GROUP BY v;
DO $$ BEGIN
    INSERT INTO nul SELECT 'inner', k FROM src;
    BEGIN
        INSERT INTO nul SELECT 'inner2', k / (k - 20) FROM src;
    EXCEPTION WHEN division_by_zero THEN
        INSERT INTO nul SELECT 'caught', k FROM src;
    END;
END $$;
SELECT v, count(*) FROM nul WHERE v LIKE 'inner%' OR v = 'caught' GROUP BY v;
