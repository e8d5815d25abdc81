SELECT count(*), count(i4), count(DISTINCT i4), count(DISTINCT t), count(DISTINCT (g, b)) FROM m;
SELECT sum(i2), sum(i4), sum(i8), sum(n), sum(iv) FROM m;
-- @digits 12
SELECT sum(f8), sum(f4), avg(f8), avg(f4) FROM m;
SELECT avg(i2), avg(i4), avg(i8), avg(n), avg(iv) FROM m;
SELECT pg_typeof(sum(i2)), pg_typeof(sum(i4)), pg_typeof(sum(i8)), pg_typeof(avg(i4)), pg_typeof(avg(f4)), pg_typeof(count(*)), pg_typeof(stddev(i4)), pg_typeof(stddev(f4)), pg_typeof(sum(f4)), pg_typeof(max(t)) FROM m;
SELECT min(i2), max(i4), min(i8), max(n), min(f8), max(f4), min(t), max(t), min(d), max(ts), min(iv), max(arr) FROM m;
SELECT bool_and(b), bool_or(b), every(b), bool_and(b IS NULL OR i2 > 0) FROM m;
SELECT bit_and(i4), bit_or(i2), bit_xor(i8), bit_and(bits), bit_or(bits), bit_xor(bits) FROM m;
SELECT round(stddev(i4), 8), round(stddev_pop(i8), 0), round(stddev_samp(n), 8), round(variance(i2), 8), round(var_pop(i4), 8), round(var_samp(n), 8) FROM m;
SELECT g, round(stddev(i4), 8), round(variance(n), 8), count(*) FROM m GROUP BY g;
-- @digits 9
SELECT stddev(f8), variance(f8), stddev_pop(f4), var_pop(f4), corr(f8, i4), regr_slope(f8, i4), regr_r2(n, i2), covar_samp(f8, f4) FROM m;
-- @digits 9
SELECT g, corr(f8, i2), regr_intercept(f8, i2), regr_sxy(f8, i2), regr_count(i4, i2) FROM m GROUP BY g;
SELECT stddev(i4), variance(i4), avg(i4), sum(i4) FROM m WHERE k = 3 AND i2 = 3;
SELECT g, string_agg(t, ',' ORDER BY t, k) FROM m WHERE k < 3 GROUP BY g;
SELECT string_agg(t, k::text ORDER BY f8) FROM m WHERE f8 < 6;
SELECT k, string_agg(t, ',' ORDER BY f8 DESC) FROM m GROUP BY k;
SELECT string_agg(DISTINCT t, '|' ORDER BY t DESC) FROM m;
SELECT array_agg(i4 ORDER BY f8) FROM m WHERE f8 < 9;
SELECT g, array_agg(k ORDER BY k, f8 DESC) FROM m WHERE f8 > 45 GROUP BY g;
SELECT array_agg(arr ORDER BY f8) FROM m WHERE f8 < 3;
SELECT array_agg(DISTINCT g) FROM m;
SELECT array_agg(DISTINCT b ORDER BY b DESC NULLS LAST) FROM m;
SELECT json_agg(i4 ORDER BY f8), jsonb_agg(t ORDER BY f8 DESC) FROM m WHERE f8 < 5;
SELECT json_object_agg(i2, t ORDER BY i2) FROM m WHERE f8 < 4;
SELECT jsonb_object_agg(i2, t) FROM m WHERE f8 < 4;
SELECT xmlagg(xmlelement(name x, i2) ORDER BY f8) FROM m WHERE f8 < 2;
SELECT cardinality(array_agg(i4)), length(string_agg(t, ',')), jsonb_array_length(jsonb_agg(i4)) FROM m;
SELECT range_agg(int4range(i2, i2 + 2)) FROM m;
SELECT range_intersect_agg(int4range(0, i2 + 200)) FROM m;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f8), percentile_disc(0.5) WITHIN GROUP (ORDER BY i4 DESC), mode() WITHIN GROUP (ORDER BY g) FROM m;
SELECT g, percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY ts) FROM m GROUP BY g;
SELECT k, percentile_cont(0.3) WITHIN GROUP (ORDER BY f8) FROM m GROUP BY k;
SELECT rank(50) WITHIN GROUP (ORDER BY i2), dense_rank(50) WITHIN GROUP (ORDER BY i2), percent_rank(50) WITHIN GROUP (ORDER BY i2), cume_dist(50) WITHIN GROUP (ORDER BY i2) FROM m;
SELECT second_largest(i4) FROM m;
SELECT k, second_largest(i4) FROM m GROUP BY k;
SELECT g, second_largest(i4) FILTER (WHERE b), second_largest(DISTINCT g) FROM m GROUP BY g;
SELECT count(*) FILTER (WHERE b), sum(i4) FILTER (WHERE NOT b), avg(n) FILTER (WHERE g = 9), max(t) FILTER (WHERE i2 < 20) FROM m;
SELECT stddev(i2) FILTER (WHERE i2 > 5), regr_count(f8, i4) FILTER (WHERE g = 1), round(variance(n) FILTER (WHERE false), 4), regr_count(f8, i4) FILTER (WHERE false) FROM m;
SELECT g, count(*) FILTER (WHERE i4 IS NULL), array_agg(i2 ORDER BY i2) FILTER (WHERE i2 > 95) FROM m GROUP BY g;
SELECT count(DISTINCT i2) FILTER (WHERE b), sum(DISTINCT i2), avg(DISTINCT g), array_agg(DISTINCT g ORDER BY g DESC) FROM m;
SELECT g, count(DISTINCT k), count(DISTINCT t), sum(DISTINCT i2) FROM m GROUP BY g;
SELECT k, count(DISTINCT g), count(DISTINCT t) FROM m GROUP BY k;
SELECT count(*), sum(i4), avg(i4), min(t), max(n), stddev(f8), bool_and(i4 > 0), array_agg(i4), string_agg(t, ','), json_agg(t), count(DISTINCT i4) FROM nothing;
SELECT count(*), sum(i4), avg(n), max(t), array_agg(g), regr_count(f8, i4), corr(f8, i4), var_pop(f8) FROM m WHERE k = 1000;
SELECT count(*), sum(i4), avg(n) FROM m WHERE k = 1 AND k = 2;
SELECT k, count(*) FROM nothing GROUP BY k;
SELECT count(*) + 1, coalesce(sum(i4), 0) FROM nothing HAVING count(*) = 0;
SELECT 1 FROM m HAVING count(*) > 100;
SELECT 1 FROM m HAVING count(*) > 1000;
SELECT max(i4) FROM m HAVING min(i4) < 5;
SELECT g, sum(i4) FROM m GROUP BY g HAVING sum(i4) > 3000 AND count(*) > 10;
SELECT g, sum(i4) FROM m GROUP BY g HAVING g > 1 OR min(t) = 't1';
SELECT k, sum(i4) FROM m GROUP BY k HAVING max(n) > (SELECT avg(n) * 1.9 FROM m);
SELECT g + 1 AS g1, b, count(*) * 2, sum(i4) / count(i4), round(avg(i4) + max(n), 4) FROM m GROUP BY g1, b;
SELECT g, k, count(*) FROM m GROUP BY g, k HAVING count(*) > 3;
SELECT k % 2 = 0 AS even, sum(i4) FROM m GROUP BY k % 2 = 0;
SELECT sum(i4) AS s FROM m GROUP BY g;
SELECT DISTINCT sum(i2) > 2000 FROM m GROUP BY k;
SELECT count(*) FROM m GROUP BY ();
SELECT g, b, sum(i4), grouping(g, b) FROM m GROUP BY GROUPING SETS ((g, b), (g), (b), ());
SELECT k, g, count(*) FROM m GROUP BY ROLLUP (k, g);
SELECT g, b, t, count(*), count(DISTINCT k) FROM m WHERE i2 < 30 GROUP BY CUBE (g, b, t);
SELECT g, b, count(*) FROM m GROUP BY g, ROLLUP (b);
SELECT g, b, count(*) FROM m GROUP BY DISTINCT ROLLUP (g, b), ROLLUP (g);
SELECT k, count(*) FROM nothing GROUP BY GROUPING SETS ((k), ());
SELECT d, min(ts)::date, max(ts) - min(ts) FROM m GROUP BY d;
SELECT dim.name, count(*), sum(m.i4) FROM m JOIN dim USING (g) GROUP BY dim.name;
SELECT dim.name, count(m.k), max(m.i4) FROM dim LEFT JOIN m USING (g) GROUP BY dim.name;
SELECT dim.name, count(DISTINCT m.k) FROM dim LEFT JOIN m ON m.g = dim.g AND m.k = 3 GROUP BY dim.name;
SELECT sum(x) FROM (SELECT g, avg(i4) AS x FROM m GROUP BY g) s;
SELECT max(c), min(c), avg(c) FROM (SELECT k, count(*) AS c FROM m GROUP BY k) s;
SELECT c, count(*) FROM (SELECT k, count(*) FILTER (WHERE b) AS c FROM m GROUP BY k) s GROUP BY c;
SELECT g, avg(s) FROM (SELECT k, g, sum(i4) AS s FROM m GROUP BY k, g) q GROUP BY g;
SELECT j->>'i' AS i, count(*), sum((j->>'i')::int) FROM m GROUP BY j->>'i';
SELECT j, count(*) FROM m GROUP BY j;
SELECT arr, count(*) FROM m GROUP BY arr;
SELECT (g, b) AS r, count(*) FROM m GROUP BY (g, b);
SELECT g, count(*), sum(count(*)) OVER (), rank() OVER (ORDER BY count(*) DESC, g NULLS FIRST) FROM m GROUP BY g;
SELECT k, sum(i2), sum(sum(i2)) OVER (ORDER BY k) FROM m GROUP BY k;
SELECT k, i2, sum(i2) OVER (PARTITION BY k), count(*) FILTER (WHERE b) OVER (PARTITION BY k ORDER BY f8), avg(i4) OVER (PARTITION BY g) FROM m WHERE i2 < 40;
SELECT k, g, dense_rank() OVER (PARTITION BY g ORDER BY k), row_number() OVER (PARTITION BY k ORDER BY f8), lead(i4, 2, -1) OVER (PARTITION BY k ORDER BY f8) FROM m;
SELECT k, f8, array_agg(i2) OVER (PARTITION BY k ORDER BY f8 ROWS 2 PRECEDING), string_agg(t, '') OVER (PARTITION BY k ORDER BY f8 GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM m WHERE k < 4;
SELECT * FROM (SELECT k, f8, row_number() OVER (PARTITION BY g ORDER BY f8 DESC) AS rn FROM m) s WHERE rn <= 2;
SELECT sum(i4 ORDER BY f8), count(i4 ORDER BY t), min(t ORDER BY k) FROM m;
SELECT sum(1), count(1), count(NULL), max(5), string_agg('x', '') FROM m WHERE k = 1;
SELECT avg(i8), sum(i8 * 1000000) FROM m;
-- @error 22003
SELECT sum(i8 * 100000000) FROM m;
-- @error 22012
SELECT sum(i2 / (i2 - 50)) FROM m;
-- @error 22012
SELECT g, 1 / (count(*) - 50) FROM m GROUP BY g;
-- @error 42803
SELECT k, sum(i4) FROM m;
-- @error 42803
SELECT sum(count(*)) FROM m;
-- @error 42803
SELECT g FROM m WHERE sum(i4) > 1;
-- @error 42703
SELECT sum(missing) FROM m;
-- @error 42883
SELECT sum(t) FROM m;
-- @error 42804
SELECT count(*) FROM m WHERE t;
-- @ordered
SELECT g, sum(n) AS s FROM m GROUP BY g ORDER BY s DESC LIMIT 2;
-- @ordered
SELECT k, avg(i4) FROM m GROUP BY k ORDER BY avg(i4) DESC NULLS LAST, k LIMIT 5 OFFSET 2;
-- @ordered
SELECT t, count(*) FROM m GROUP BY t ORDER BY count(*), t COLLATE "C" NULLS FIRST;
-- @ordered
SELECT g, b FROM m GROUP BY g, b ORDER BY g DESC, b NULLS FIRST;
-- @ordered
SELECT g, count(*) AS c FROM m GROUP BY g ORDER BY max(n) - min(n), g;
-- @params 3
-- @params 1000
-- @params NULL
SELECT count(*), sum(i4), avg(n), array_agg(i2 ORDER BY f8) FROM m WHERE k = $1;
-- @params 10, 2
-- @params 50, 1
SELECT g, count(*) + $2, sum(i4 * $2) FROM m WHERE i2 > $1 GROUP BY g HAVING count(*) > $2;
-- @params 1
-- @params 2
-- @params 3
-- @params 4
-- @params 5
-- @params 6
-- @params 7
SELECT k + $1 AS x, sum(i4) FROM m GROUP BY k + $1;
