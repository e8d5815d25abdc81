-- CASE of a boolean: `argument = true` is folded to the argument.
SELECT k, CASE n > 1 WHEN true THEN 'a' ELSE 'b' END FROM w;
SELECT k, CASE n > 1 WHEN false THEN 'a' WHEN true THEN 'b' END FROM w;
SELECT k, CASE nullif(n, 2) > 1 WHEN true THEN 'a' WHEN false THEN 'b' ELSE 'none' END FROM w;
SELECT k, CASE n > 1 WHEN k > 20 THEN 'a' WHEN true THEN 'b' ELSE 'c' END FROM w;
SELECT k, CASE NOT n > 1 WHEN true THEN 'a' ELSE 'b' END FROM w WHERE k = 3;
SELECT k, CASE n > 1 WHEN true THEN CASE k > 9 WHEN false THEN 'a' ELSE 'b' END ELSE 'c' END FROM w;
SELECT k, CASE CASE n > 1 WHEN true THEN k > 9 ELSE k < 5 END WHEN false THEN 'a' ELSE 'b' END FROM w;
SELECT k FROM w WHERE CASE n > 1 WHEN true THEN k > 15 ELSE k < 5 END;
SELECT k FROM w WHERE CASE n > 1 WHEN false THEN k > 15 ELSE k < 5 END;
SELECT CASE n > 1 WHEN true THEN 'a' ELSE 'b' END AS c, count(*), sum(CASE k > 9 WHEN false THEN 1 ELSE 2 END) FROM w GROUP BY 1;
SELECT a.k, b.k FROM w a JOIN w2 b ON a.n = b.n WHERE CASE a.k > 10 WHEN true THEN a.n > 1 ELSE a.k < 3 END;
SELECT a.k, b.k FROM w a LEFT JOIN w2 b ON a.n = b.n AND CASE b.k > 30 WHEN false THEN b.n > 1 ELSE false END;
SELECT a.k, b.k FROM w a JOIN w2 b USING (k) WHERE CASE a.n > 1 WHEN true THEN b.n > 1 ELSE b.n < 3 END;
-- @params 1
SELECT k, CASE n > $1 WHEN true THEN 'a' ELSE 'b' END FROM w;
-- Computed once, however often it is looked at.
SELECT count(*) FROM (SELECT CASE random() < 0.5 WHEN true THEN 1 WHEN false THEN 2 ELSE 3 END AS c FROM w, generate_series(1, 20)) q WHERE c = 3;
-- An equality that is inlined.
CREATE FUNCTION same(color, INT) RETURNS BOOLEAN LANGUAGE SQL IMMUTABLE AS 'SELECT length($1::text) > $2';
CREATE OPERATOR = (FUNCTION = same, LEFTARG = color, RIGHTARG = INT);
SELECT k, CASE c WHEN 4 THEN 'long' WHEN 3 THEN 'middle' ELSE 'short' END FROM e;
SELECT k FROM e WHERE CASE c WHEN 4 THEN k > 3 WHEN 3 THEN k < 6 ELSE k = 7 END;
DROP OPERATOR = (color, INT);
DROP FUNCTION same(color, INT);
UPDATE w SET v = CASE n > 1 WHEN true THEN 'many' ELSE 'few' END WHERE CASE k > 15 WHEN true THEN true ELSE n = 0 END;
UPDATE w SET n = CASE k > 9 WHEN false THEN n + 10 ELSE n END WHERE k IN (SELECT k - 15 FROM w2);
DELETE FROM w USING w2 WHERE w.n = w2.n AND CASE w.k > 25 WHEN true THEN w2.k > 40 ELSE false END;
SELECT * FROM w;
