-- The order that a sub-query, a view or a query of WITH gives to its rows stays, as in PostgreSQL.
CREATE VIEW sorted AS SELECT k, x, s FROM a ORDER BY k DESC, x NULLS FIRST, s NULLS LAST;
-- @ordered
SELECT * FROM (SELECT n FROM skew ORDER BY n) q LIMIT 7;
-- @ordered
SELECT * FROM (SELECT n FROM skew ORDER BY n DESC) q LIMIT 5 OFFSET 3;
-- @ordered
SELECT n * 2 AS twice FROM (SELECT n FROM skew ORDER BY n) q WHERE n % 3 = 0 LIMIT 5;
-- @ordered
SELECT * FROM (SELECT n FROM skew WHERE n < 40 ORDER BY n) q;
-- @ordered
SELECT * FROM (SELECT * FROM (SELECT n FROM skew ORDER BY n) p WHERE n > 10) q LIMIT 4;
-- @ordered
WITH q AS (SELECT n FROM skew ORDER BY n DESC) SELECT * FROM q LIMIT 4;
-- @ordered
WITH q AS MATERIALIZED (SELECT n FROM skew ORDER BY n DESC) SELECT * FROM q LIMIT 4;
-- @ordered
SELECT * FROM sorted LIMIT 9;
-- @ordered
SELECT k, s FROM sorted WHERE k < 12 LIMIT 9 OFFSET 2;
-- @ordered
SELECT * FROM (SELECT a.k, b.y FROM a JOIN b USING (k) ORDER BY a.k, b.y NULLS FIRST) q LIMIT 8;
-- @ordered
SELECT * FROM (SELECT x, count(*) AS c FROM a GROUP BY x ORDER BY x NULLS FIRST) q LIMIT 4;
-- @ordered
SELECT * FROM (SELECT DISTINCT k FROM a ORDER BY k) q LIMIT 4;
-- @ordered
SELECT * FROM (SELECT k FROM a UNION SELECT k FROM b ORDER BY k) q LIMIT 4;
-- @ordered
SELECT DISTINCT ON (k) k, x FROM (SELECT k, x FROM a ORDER BY k, x DESC NULLS LAST) q;
-- @ordered
SELECT k, (SELECT max(y) FROM b) AS m FROM (SELECT DISTINCT k FROM a ORDER BY k DESC) q LIMIT 5;
-- @ordered
SELECT row_number() OVER () AS r, n FROM (SELECT n FROM skew ORDER BY n) q LIMIT 5;
SELECT array_agg(n) FROM (SELECT n FROM skew WHERE n < 30 ORDER BY n DESC) q;
SELECT string_agg(n::text, ',') FROM (SELECT * FROM (SELECT n FROM skew WHERE n < 30 ORDER BY n DESC) p) q;
SELECT count(*), max(n) FROM (SELECT n FROM skew ORDER BY n) q;
-- @ordered
SELECT * FROM (SELECT n FROM skew WHERE k = 1 ORDER BY n) q LIMIT 7;
-- @ordered
SELECT n FROM (SELECT n FROM skew ORDER BY n DESC) q ORDER BY n LIMIT 3;
-- Keys that are no outputs, or twice; other clauses around and inside.
-- @ordered
SELECT * FROM (SELECT k FROM skew ORDER BY n DESC) q LIMIT 5;
-- @ordered
SELECT q.*, n AS again FROM (SELECT n, k FROM skew ORDER BY k DESC, n % 7, n) q WHERE n % 5 <> 0 LIMIT 12;
-- @ordered
SELECT k FROM (SELECT n, k FROM skew ORDER BY n % 10, n) q LIMIT 4;
-- @ordered
SELECT * FROM (SELECT n FROM skew ORDER BY n DESC LIMIT 9) q WHERE n % 2 = 0;
-- @ordered
SELECT * FROM (SELECT * FROM (SELECT x, k FROM a ORDER BY x DESC NULLS LAST, k) p) q LIMIT 11;
-- @ordered
SELECT count(*) OVER () AS c, n FROM (SELECT n FROM skew ORDER BY n DESC) q LIMIT 3;
-- @ordered
SELECT generate_series(1, 2) AS g, n FROM (SELECT n FROM skew ORDER BY n DESC) q LIMIT 5;
-- @ordered
WITH q AS (SELECT n FROM skew ORDER BY n % 10, n DESC) SELECT n FROM q LIMIT 4;
-- @ordered
WITH q AS (SELECT k FROM skew ORDER BY n DESC) SELECT k FROM q LIMIT 4;
-- @ordered
SELECT n FROM (SELECT n FROM skew ORDER BY n) q LIMIT 3 FOR UPDATE;
-- @ordered
SELECT * FROM (SELECT DISTINCT ON (k) k, n FROM skew ORDER BY k, n DESC) q LIMIT 4;
-- @ordered
SELECT * FROM (SELECT k, sum(n) AS s FROM skew GROUP BY k ORDER BY sum(n) DESC) q LIMIT 3;
-- @ordered
SELECT * FROM (SELECT n FROM skew ORDER BY n) q WHERE n > (SELECT max(k) FROM a) LIMIT 3;
-- @ordered
SELECT * FROM (SELECT label FROM r ORDER BY label) q LIMIT 3;
DROP VIEW sorted;

-- Sorted by a column while an output that is something else has its name.
-- @ordered
SELECT -n AS n FROM skew WHERE k = 1 ORDER BY skew.n LIMIT 3;
-- @ordered
SELECT -n AS n FROM skew ORDER BY skew.n LIMIT 3;
-- @ordered
SELECT max(n) AS k FROM skew GROUP BY skew.k ORDER BY skew.k LIMIT 5;
-- @ordered
SELECT DISTINCT ON (t.c1) 5 AS c1, t.c2 FROM (SELECT k AS c1, n AS c2 FROM skew) t ORDER BY t.c1, t.c2;
-- Sorted by a column and by something that PostgreSQL would call the same.
-- @ordered
SELECT n FROM skew ORDER BY CASE WHEN k > 1 THEN k ELSE n END, n LIMIT 5;
-- @ordered
-- @params 'k'
-- @params 'n'
SELECT n FROM skew ORDER BY CASE WHEN $1 = 'k' THEN k ELSE n END, n LIMIT 5;
-- @ordered
SELECT k FROM skew ORDER BY n::text, n LIMIT 5;
-- @ordered
SELECT k FROM a ORDER BY s COLLATE "C" NULLS FIRST, s, k, x LIMIT 9;
-- @ordered
SELECT s FROM a ORDER BY (SELECT k), k, s, x OFFSET 3 LIMIT 9;
-- @ordered
SELECT k FROM a GROUP BY k, s ORDER BY max(s), s, k LIMIT 9;
-- @ordered
SELECT DISTINCT ON (k, k::text) x FROM a ORDER BY k::text, k, x LIMIT 9;
