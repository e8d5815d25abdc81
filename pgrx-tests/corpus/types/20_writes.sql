INSERT INTO by_mood VALUES ('ok', 100, 5, ROW(1, 'x,"y"'), '{happy}') RETURNING *;
-- @error 23514
INSERT INTO by_mood (k, p) VALUES ('ok', -1);
-- @error 22P02
INSERT INTO by_mood (k) VALUES ('bored');
UPDATE by_mood SET pr.a = 50, ms = ms || 'ok'::mood WHERE k = 'sad' RETURNING n, pr, ms;
UPDATE by_mood SET ms[3] = 'happy', p = 7 WHERE n < 5;
-- @error 23514
UPDATE by_mood SET p = p - 8 WHERE k = 'happy';
-- @error 22003
INSERT INTO by_smallint VALUES (70000, 1);
-- @error 22001
INSERT INTO by_varchar VALUES (repeat('x', 30), 'a', 1);
-- @error 22001
INSERT INTO by_varchar VALUES ('x', repeat('x', 30), 1);
INSERT INTO by_text VALUES (E'new\nline', 1), (E'q"uote', 2), (E'\u00fc', 3);
SELECT * FROM by_text WHERE k = E'new\nline' OR k = 'ü';
INSERT INTO by_numeric VALUES (3.10, 1) RETURNING k;
-- @error 23505
INSERT INTO by_numeric VALUES (3.1, 2);
-- @error 23505
INSERT INTO by_numeric VALUES (1.000, 2);
UPDATE by_bigint SET jb = jsonb_set(coalesce(jb, '[]'), '{0}', '"changed"'), ia = ia || 5, num = num * 1.5, j = '{"a": [1, 2]}' WHERE i4 % 2 = 0;
UPDATE by_bigint SET ba = '\x00ff', ip = '::1', x = '<a>b</a>', bits = B'1010' WHERE k = 0 RETURNING ba, ip, x, bits;
COPY by_bigint (k, jb, ia, ta, ba, num) FROM STDIN WITH (FORMAT csv, NULL 'nil', DELIMITER ';');
77;"{""a"": ""x;y""}";{1,2};"{{a,""b c""}}";\x0102;1.5
78;nil;nil;nil;nil;nil
\.
SELECT k, jb, ia, ta, ba, num FROM by_bigint WHERE k IN (77, 78);
COPY by_text FROM STDIN;
copied	1	v	b
ta\tb	2	\N	\N
nl\nb	3		x
\.
COPY by_text TO STDOUT;
COPY by_mood (k, n, pr, ms) TO STDOUT WITH (FORMAT csv, QUOTE '''', FORCE_QUOTE *);
DELETE FROM by_float WHERE k = 'NaN' RETURNING n;
DELETE FROM by_numeric WHERE k = 'NaN' RETURNING n;
DELETE FROM by_bool WHERE k;
INSERT INTO by_bool VALUES ('yes', 1), ('off', 2), (1 = 1, 3) RETURNING k;
INSERT INTO by_date SELECT k + 100, n, t, i FROM by_date WHERE k > '2025-01-05';
INSERT INTO by_uuid SELECT md5(n::text || 'x')::uuid, n FROM by_mood;
INSERT INTO by_float SELECT f8, i4 FROM by_bigint WHERE f8 IS NOT NULL;
-- @params 'sad', '(9,nine)', '{sad,ok}'
-- @params 'happy', NULL, NULL
INSERT INTO by_mood (k, pr, ms) VALUES ($1, $2, $3);
-- @params '6.50', 3
-- @params 'NaN', 4
INSERT INTO by_numeric VALUES ($1, $2) RETURNING k, n;
