SELECT * FROM by_text;
SELECT * FROM by_text WHERE k = 'é';
SELECT * FROM by_text WHERE k = '';
SELECT * FROM by_text WHERE k = 'a ';
SELECT * FROM by_text WHERE k IN ('a', 'B', 'nope');
SELECT * FROM by_text WHERE k = 'x''y' OR k = E'back\\slash';
SELECT * FROM by_text WHERE k LIKE 'a%';
SELECT * FROM by_text WHERE k ~ '^[a-z]$';
SELECT * FROM by_text WHERE k = 'zz'::varchar;
SELECT * FROM by_text WHERE k = 'zz'::name;
SELECT * FROM by_text WHERE b = 'c1';
SELECT * FROM by_text WHERE b = 'c1   ';
-- @ordered
SELECT k FROM by_text ORDER BY k;
-- @ordered
SELECT k FROM by_text ORDER BY k COLLATE "en-x-icu";
-- @ordered
SELECT k FROM by_text ORDER BY k COLLATE "C" DESC LIMIT 4;
SELECT min(k), max(k), min(k COLLATE "en-x-icu"), max(k COLLATE "en-x-icu") FROM by_text;
SELECT upper(k COLLATE "en-x-icu"), length(k), octet_length(k) FROM by_text;
SELECT v, b, count(*) FROM by_text GROUP BY v, b;
SELECT * FROM by_uuid WHERE k = md5('3')::uuid;
-- @params 'c4ca4238a0b923820dcc509a6f75849b'
-- @params 'C4CA4238-A0B9-2382-0DCC-509A6F75849B'
-- @params NULL
SELECT n FROM by_uuid WHERE k = $1;
-- @error 22P02
SELECT * FROM by_uuid WHERE k = 'nothing';
-- @ordered
SELECT k FROM by_uuid ORDER BY k DESC LIMIT 3;
SELECT * FROM by_numeric WHERE k = 1;
SELECT * FROM by_numeric WHERE k = 1.0;
SELECT * FROM by_numeric WHERE k = 2;
SELECT * FROM by_numeric WHERE k = 1.500;
SELECT * FROM by_numeric WHERE k = 'NaN';
SELECT * FROM by_numeric WHERE k = 1e20;
SELECT * FROM by_numeric WHERE k IN (0.0, 1.50, 7);
SELECT * FROM by_numeric WHERE k = 1::bigint;
SELECT * FROM by_numeric WHERE k = 1.5::float8;
SELECT sum(k), max(k), avg(n) FROM by_numeric;
SELECT * FROM by_date WHERE k = '2025-01-03';
SELECT * FROM by_date WHERE k = timestamp '2025-01-03 00:00';
SELECT * FROM by_date WHERE k = timestamp '2025-01-03 01:00';
SELECT * FROM by_date WHERE k BETWEEN '2025-01-03' AND '2025-01-04';
SELECT k, count(*), sum(i), max(t), avg(i), min(i) FROM by_date GROUP BY k;
SELECT * FROM by_date WHERE k = 'infinity';
SELECT * FROM by_ts WHERE k = '2025-01-01 03:00:00+00';
SELECT * FROM by_ts WHERE k = '2025-01-01 04:00:00+01';
SELECT * FROM by_ts WHERE k = date '2025-01-02';
SELECT * FROM by_ts WHERE ts = '2025-01-01 03:00:00';
SELECT k AT TIME ZONE 'UTC', ts AT TIME ZONE 'Europe/Berlin', age(k, '2024-01-01 00:00+00'), extract(epoch FROM k) FROM by_ts WHERE n < 5;
SELECT * FROM by_mood WHERE k = 'ok';
SELECT * FROM by_mood WHERE k IN ('ok', 'happy') AND n > 10;
SELECT k, count(*), max(k), min(n) FROM by_mood GROUP BY k;
-- @ordered
SELECT k, n FROM by_mood ORDER BY k, n;
SELECT n, (pr).a, (pr).b FROM by_mood WHERE (pr).a > 15;
SELECT ms[1], count(*) FROM by_mood GROUP BY 1;
SELECT array_agg(k ORDER BY n), array_agg(pr ORDER BY n) FROM by_mood WHERE n < 4;
-- @params 'happy'
-- @params 'sad'
SELECT n FROM by_mood WHERE k = $1;
-- @params '(3,b3)'
SELECT n FROM by_mood WHERE pr = $1::pair;
-- @params '{ok,sad}'
SELECT count(*) FROM by_mood WHERE ms = $1;
-- @error 22P02
SELECT * FROM by_mood WHERE k = 'angry';
SELECT enum_range(NULL::mood), k > 'sad' AS better FROM by_mood WHERE n = 1;
SELECT * FROM by_bool WHERE k;
SELECT * FROM by_bool WHERE NOT k;
SELECT * FROM by_bool WHERE k IS TRUE;
SELECT * FROM by_bool WHERE k IS NOT FALSE AND n > 3;
SELECT * FROM by_bool WHERE k = false;
SELECT k, count(*) FROM by_bool GROUP BY k;
SELECT k, i2, i4, f4, f8, num, j, jb, ia, ta, ba, ip, r, bits, x, tsv, pt, m, o FROM by_bigint;
SELECT i4 FROM by_bigint WHERE k = 3000000021;
SELECT i4 FROM by_bigint WHERE k = 0;
SELECT k FROM by_bigint WHERE k = -1::smallint;
SELECT k FROM by_bigint WHERE k = 9223372036854775807;
SELECT k FROM by_bigint WHERE k = -9223372036854775808;
SELECT k FROM by_bigint WHERE k = 9223372036854775808;
SELECT k FROM by_bigint WHERE k = 0.0;
SELECT k FROM by_bigint WHERE k = 0.5;
SELECT k FROM by_bigint WHERE k IN (0, -1, 5);
SELECT k FROM by_bigint WHERE k < 0;
SELECT k FROM by_bigint WHERE k + 0 = 0;
SELECT k FROM by_bigint WHERE k * 1 = -1;
SELECT sum(i2), sum(i4), sum(k), sum(num), avg(i2), avg(k), avg(num), sum(m) FROM by_bigint WHERE i4 IS NOT NULL;
-- @digits 6
SELECT sum(f4), avg(f4), sum(f8), avg(f8), stddev(f8), stddev(i4), variance(num) FROM by_bigint;
SELECT max(ip), min(ip), max(num), min(f8), max(i2), max(o) FROM by_bigint;
SELECT array_agg(ia ORDER BY k) FROM by_bigint WHERE i4 < 3;
SELECT ia[1], count(*) FROM by_bigint GROUP BY ia[1];
SELECT i4 FROM by_bigint WHERE 7 = ANY (ia);
SELECT i4 FROM by_bigint WHERE ia @> ARRAY[5];
SELECT jb->>0, jb->2, jb @> '[true]', j->>'a', j->'b' FROM by_bigint WHERE i4 < 4;
SELECT i4 FROM by_bigint WHERE r @> 12;
SELECT i4 FROM by_bigint WHERE tsv @@ to_tsquery('simple', 'word7');
SELECT i4, pt <-> point(0, 0) FROM by_bigint WHERE i4 < 3;
SELECT encode(ba, 'hex') FROM by_bigint WHERE i4 = 9;
SELECT bits, count(*) FROM by_bigint GROUP BY bits;
SELECT range_agg(r) FROM by_bigint WHERE i4 < 30;
SELECT jb, count(*) FROM by_bigint GROUP BY jb HAVING count(*) > 1;
SELECT * FROM by_smallint WHERE k = 3;
SELECT * FROM by_smallint WHERE k = 3::bigint;
SELECT * FROM by_smallint WHERE k = -3;
SELECT * FROM by_smallint WHERE k = 70000;
SELECT * FROM by_smallint WHERE k IN (1::bigint, 2::smallint, 3::int);
SELECT s.k, count(*) FROM by_smallint s JOIN by_bigint b ON s.n = b.i4 GROUP BY s.k;
SELECT s.k, b.k FROM by_smallint s JOIN by_bigint b ON s.k = b.k;
SELECT s.n, m.k FROM by_smallint s JOIN by_numeric m ON s.k = m.k;
SELECT * FROM by_varchar WHERE k = 'key3';
SELECT * FROM by_varchar WHERE k = 'key3 ';
SELECT * FROM by_varchar WHERE k = 'key3'::text;
SELECT * FROM by_varchar WHERE k = 'key3'::char(10);
SELECT * FROM by_varchar WHERE c = 'ch2';
SELECT v.k, c.k FROM by_varchar v JOIN by_char c ON v.k = c.k;
SELECT v.n, c.n FROM by_varchar v JOIN by_char c ON v.c = c.k;
SELECT v.n, t.n FROM by_varchar v JOIN by_text t ON v.k = t.k;
SELECT * FROM by_char WHERE k = 'ch2';
SELECT * FROM by_char WHERE k = 'ch2   ';
SELECT * FROM by_char WHERE k = 'ch2   '::text;
SELECT * FROM by_char WHERE k = 'ch2'::text;
SELECT * FROM by_char WHERE k = 'ch2'::varchar;
SELECT * FROM by_float WHERE k = 0;
SELECT * FROM by_float WHERE k = '-0'::float8;
SELECT * FROM by_float WHERE k = 'NaN';
SELECT * FROM by_float WHERE k = 'Infinity' OR k = 1.5;
SELECT * FROM by_float WHERE k = 1.5::real;
SELECT k, count(*) FROM by_float GROUP BY k HAVING k > 0;
-- @ordered
SELECT k FROM by_float WHERE n > 2 ORDER BY k;
SELECT * FROM by_bytea WHERE k = decode(md5('3'), 'hex');
SELECT encode(k, 'base64'), count(*) FROM by_bytea GROUP BY k;
SET bytea_output = 'escape';
SELECT k FROM by_bytea WHERE n = 1;
RESET bytea_output;
-- @params 5
-- @params '-1'
-- @params 0
SELECT k, i4 FROM by_bigint WHERE k = $1 OR i4 = $1;
-- @params 'a', '{a,B}'
-- @params NULL, NULL
SELECT k FROM by_text WHERE k = $1 OR k = ANY ($2);
