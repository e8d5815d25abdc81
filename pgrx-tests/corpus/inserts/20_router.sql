INSERT INTO dst (k, v, n) SELECT k, 'one', n FROM src WHERE k = 7 RETURNING k, v, n;
INSERT INTO dst (k, v, n) SELECT 8, 'eight', count(*) FROM src WHERE k = 8 RETURNING *;
INSERT INTO dst (k, v, n) SELECT 8, 'nobody', count(*) FROM src WHERE k = 8 AND v = 'nobody' RETURNING *;
INSERT INTO dst (k, v, n) SELECT 8, 'never', count(*) FROM src WHERE k = 8 AND k = 9 RETURNING *;
INSERT INTO dst (k, v, n) SELECT k, 'top', n FROM src WHERE k = 9 ORDER BY n LIMIT 1 RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT k, 'top2', n FROM (SELECT * FROM src WHERE k = 9 ORDER BY n LIMIT 1) q RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT 10, 'max', max(n) FROM (SELECT n FROM src WHERE k = 10 UNION SELECT n FROM dst WHERE k = 10) q RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT 11, 'elsewhere', n FROM src WHERE k = 12 RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT k + 1, 'moved', n FROM src WHERE k = 12 RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT 13, 'ref' || name, id FROM r RETURNING k, v;
INSERT INTO dst (k, v, n) SELECT x.k, 'outer', 1 FROM (VALUES (1)) one LEFT JOIN (SELECT k FROM src WHERE k = 14) x ON true RETURNING k;
-- @error 23502
INSERT INTO dst (k, v, n) SELECT x.k, 'outer', 1 FROM (VALUES (1)) one LEFT JOIN (SELECT 14 AS k FROM src WHERE k = 14 AND v = 'nobody') x ON true;
-- @error 23502
INSERT INTO dst (k, v, n) SELECT x.k, 'sets', 1 FROM (SELECT k, v FROM src WHERE k = 14 GROUP BY GROUPING SETS (k, v)) x;
-- @error 23502
INSERT INTO dst (k, v, n) SELECT x.k, 'sets', 1 FROM (SELECT c AS k, v FROM (SELECT 14 AS c, v FROM src WHERE k = 14) i GROUP BY GROUPING SETS (c, v)) x;
INSERT INTO dst (k, v, n) SELECT k, 'in', n FROM src WHERE k IN (15, 16, 17) RETURNING k;
-- @params 20
-- @params 21
-- @params 22
-- @params 23
-- @params 24
-- @params 25
-- @params NULL
INSERT INTO dst (k, v, n) SELECT k, 'prep', n FROM src WHERE k = $1 RETURNING k, v, n;
-- @params 20
-- @params 21
-- @params 22
-- @params 23
-- @params 24
-- @params 25
-- @params 26
INSERT INTO dst (k, v, n) SELECT $1, 'prepared', count(*) FROM src WHERE k = $1 RETURNING k, v, n;
-- @params 20
-- @params 21
-- @params 22
-- @params 23
-- @params 24
-- @params 25
-- @params 26
-- @params NULL
INSERT INTO nul SELECT count(*), $1 FROM src WHERE k = $1 GROUP BY v RETURNING k, v;
-- @params 1, 'a'
-- @params 2, 'b'
-- @params 3, 'c'
-- @params 4, 'd'
-- @params 5, 'e'
-- @params 6, 'f'
-- @params 7, NULL
INSERT INTO dst (k, v, n) SELECT k, 'many' || $2 || k, $1 FROM src WHERE n > 80 RETURNING k, v;
CREATE FUNCTION put(which INT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE many BIGINT;
BEGIN
    INSERT INTO dst (k, v, n) SELECT k, 'put' || which, n FROM src WHERE k = which;
    GET DIAGNOSTICS many = ROW_COUNT;
    INSERT INTO dst (k, v, n) SELECT k, 'putall' || which, which FROM src;
    RETURN many + (SELECT count(*) FROM dst WHERE v = 'putall' || which);
END $$;
-- @simple
SELECT put(30);
-- @simple
SELECT put(g) FROM generate_series(31, 37) g;
SELECT v, count(*), sum(n) FROM dst WHERE v LIKE 'put%' GROUP BY v;
