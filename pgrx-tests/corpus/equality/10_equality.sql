SELECT n FROM ci WHERE k = 'abc';
SELECT k, count(*) FROM (SELECT lower(k::text) AS k FROM ci) q GROUP BY k;
SELECT count(DISTINCT k) FROM ci;
SELECT n FROM ci WHERE k = 'abc'::text;
SELECT n FROM ci WHERE k IN ('XYZ', 'nope');
SELECT n FROM nd WHERE k = 'abc';
SELECT n FROM nd WHERE k = 'abc' COLLATE "C";
-- @params 'abc'
-- @params 'ABC'
SELECT n FROM nd WHERE k = $1::text COLLATE "C";
SELECT count(*) FROM nd GROUP BY k;
SELECT count(DISTINCT k), count(DISTINCT o) FROM nd;
SELECT count(*) FROM nd GROUP BY o;
SELECT a.n, b.n FROM nd a JOIN nd b ON a.k = b.k;
SELECT a.n, b.n FROM nd a JOIN nd b ON a.o = b.o;
SELECT a.n, b.n FROM nd a JOIN nd b ON a.k = b.o COLLATE "C";
UPDATE ci SET n = 10 WHERE k = 'ABC';
DELETE FROM ci WHERE k = 'XYZ' RETURNING *;
INSERT INTO ci VALUES ('aBC', 5), ('new', 6) RETURNING k;
UPDATE nd SET n = n + 10 WHERE k = 'xYz' RETURNING k, n;
DELETE FROM nd WHERE k IN ('abc', 'none') RETURNING n;
SELECT * FROM nd;
-- @ordered
SELECT k FROM ci ORDER BY k, n;
SELECT max(k), min(k) FROM ci;
SELECT a.n, b.n FROM ci a JOIN ci b ON a.k = b.k;
-- @params 'NEW'
-- @params 'aBc'
SELECT n FROM ci WHERE k = $1;
