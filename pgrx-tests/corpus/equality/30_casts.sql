-- What a cast makes equal is on several shards: 'a' and 'a ' as bpchar, 'a' and 'A' as citext.
SELECT count(*), sum(n) FROM kt GROUP BY k::citext;
SELECT count(*), sum(n) FROM kt GROUP BY k::bpchar;
SELECT count(*) FROM (SELECT DISTINCT k::bpchar FROM kt) q;
SELECT count(*) FROM (SELECT DISTINCT k::citext FROM kt) q;
SELECT count(DISTINCT k::citext), count(DISTINCT k::bpchar), count(DISTINCT k) FROM kt;
SELECT n % 2, count(DISTINCT k::citext) FROM kt GROUP BY 1;
SELECT n, count(*) OVER (PARTITION BY k::citext) FROM kt;
SELECT a.n, b.n FROM kt a JOIN ko b ON a.k::citext = b.k::citext;
SELECT a.n, b.n FROM kt a JOIN ko b ON a.k::bpchar = b.k::bpchar;
SELECT a.n, b.n FROM kt a LEFT JOIN ko b ON a.k::bpchar = b.k::bpchar AND b.n < 4;
SELECT n FROM kt a WHERE EXISTS (SELECT 1 FROM ko b WHERE b.k::citext = a.k::citext AND b.n > 2);
SELECT n FROM kt a WHERE k::citext IN (SELECT k::citext FROM ko WHERE n > 2);
SELECT n FROM kt a WHERE k::bpchar NOT IN (SELECT k::bpchar FROM ko);
SELECT count(*) FROM (SELECT k::citext FROM kt UNION SELECT k::citext FROM ko) q;
SELECT count(*) FROM (SELECT k::bpchar FROM kt INTERSECT SELECT k::bpchar FROM ko) q;
SELECT count(*) FROM (SELECT k::bpchar AS c FROM kt) q GROUP BY c;
SELECT q.n, b.n FROM (SELECT k::citext AS c, n FROM kt) q JOIN ko b ON q.c = b.k::citext;
SELECT q.m, b.n FROM (SELECT k::citext AS c, sum(n) AS m FROM kt GROUP BY 1) q JOIN ko b ON q.c = b.k::citext;
SELECT n FROM kt WHERE k::citext = 'A';
SELECT n FROM kt WHERE k::bpchar = 'a';
-- @params 'A'
-- @params 'b'
SELECT n FROM kt WHERE k::citext = $1::text::citext;
-- @params 'a'
-- @params 'B'
SELECT n FROM kt WHERE k::bpchar = $1::text::bpchar;
SELECT a.n, b.n FROM kt a JOIN ko b ON a.k::citext = b.k::citext WHERE a.k::citext = 'A';
SELECT count(*), sum(n) FROM kv GROUP BY k::text COLLATE nocase;
SELECT count(*), sum(n) FROM kv GROUP BY k COLLATE nocase;
SELECT count(DISTINCT k COLLATE nocase), count(DISTINCT k::text COLLATE nocase) FROM kv;
SELECT a.n, b.n FROM kv a JOIN kw b ON a.k COLLATE nocase = b.k;
SELECT count(*), sum(n) FROM kv GROUP BY k::bpchar;
SELECT count(*), sum(n) FROM kv GROUP BY k::text;
SELECT a.n, b.n FROM kv a JOIN kw b ON a.k = b.k;
SELECT n FROM kv WHERE k::text = 'a';
SELECT n FROM kv WHERE k::citext = 'A';
UPDATE kt SET n = n + 10 WHERE k::citext = 'a' RETURNING n;
UPDATE kt SET n = kt.n + b.n FROM ko b WHERE kt.k::citext = b.k::citext AND b.n IN (3, 5, 6) RETURNING kt.n;
DELETE FROM kt USING ko b WHERE kt.k::bpchar = b.k::bpchar AND b.n = 1 RETURNING kt.n;
SELECT * FROM kt;
