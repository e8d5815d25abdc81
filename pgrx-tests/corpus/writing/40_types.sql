-- Several rows of every kind of type: twice, since a node keeps statements that come again.
INSERT INTO kinds VALUES
 (1, true, -32768, -2147483648, 1.5, 'NaN', '', '', '', 'w', '', 0, '0001-01-01', '00:00', '-infinity', 'infinity', '0', '00000000-0000-0000-0000-000000000000', '{}', '{"a": [1, null]}', B'000', 'sad', ROW(1, 'x'), '10.0.0.1/8', '[1,5)', 'n', 0),
 (9223372036854775807, false, 32767, 2147483647, '-Infinity', 1e-300, E'a"b\\c{d},''e\n', 'abcde', 'ab', 'eight888', '\x00ff22', -1234567.8915, '5874897-12-31', '23:59:59.95', '2020-02-29 12:34:56.789012', '2020-02-29 12:34:56+05:30', '1 year -2 days 03:04:05.678', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b" :  1}', '"t"', B'101', 'so "so"', ROW(NULL, 'a,"b"\c'), '::1', '(,)', 'é', 4294967295),
 (-3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, true, 0, 0, 0, '-0', 'NULL', 'null', 'null', 'NULL', '\x4e554c4c', 'NaN', 'infinity', '24:00', 'epoch', 'epoch', '-1 mon', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', B'111', 'NULL', ROW(NULL, NULL), '0.0.0.0/0', 'empty', 'NULL', 1);
SELECT * FROM kinds ORDER BY k;
INSERT INTO kinds VALUES
 (11, true, 1, 1, 1.5, 'NaN', '{', 'ü', '日', 'ü', '\x5c', 0.0005, '2000-01-01', '00:00', 'now'::timestamp - 'now'::timestamp + timestamp '2001-01-01', 'infinity', '0', '00000000-0000-0000-0000-000000000001', '[]', '{"a": "\"}"}', B'010', 'sad', ROW(1, '"'), '10.0.0.1', '[1,5]', '"', 0),
 (12, false, 2, 2, 2, 2, '}', ' ', ' x', ' ', '\x22', 7, '1999-12-31', '12:00', '1999-12-31', '1999-12-31', '1', '00000000-0000-0000-0000-000000000002', ' "x"', '[{}]', B'011', 'so "so"', ROW(2, ''), '10.0.0.2', '[2,2]', E'\\', 7),
 (13, false, 3, 3, 3, 3, ',', E'\t', '    ', 'NULL ', '\x2c', 8, '1999-12-30', '12:01', '1999-12-30', '1999-12-30', '2', '00000000-0000-0000-0000-000000000003', '3', '4', B'100', 'NULL', ROW(3, ' '), '10.0.0.3', '[3,4)', ' ', 8);
SELECT *, octet_length(c), octet_length(x), length(vc) FROM kinds WHERE k > 4 ORDER BY k;
INSERT INTO kinds (x, k, c) SELECT 'row ' || i, 100 + i, i FROM generate_series(1, 40) i;
INSERT INTO kinds (x, k, c) SELECT 'row ' || i, 200 + i, i FROM generate_series(1, 40) i RETURNING k, c, x;
SELECT count(*), count(DISTINCT x), min(c), max(length(c)) FROM kinds WHERE k > 100;
-- @error 23514
INSERT INTO kinds (k, w) VALUES (301, 'good'), (302, 'bad'), (303, 'good');
-- @error 22001
INSERT INTO kinds (k, vc) VALUES (304, 'abcde'), (305, 'abcdef'), (306, 'x');
INSERT INTO kinds (k, vc) VALUES (304, 'abcde'), (305, 'abcde     '), (306, 'x') RETURNING vc || '|';
-- @error 22003
INSERT INTO kinds (k, i2) VALUES (307, 1), (308, 40000);
-- @error 22P02
INSERT INTO kinds (k, m) VALUES (309, 'sad'), (310, 'glad');
-- @error 22001
INSERT INTO kinds (k, c) VALUES (311, 'abcd '), (312, 'abcde');
SELECT count(*) FROM kinds WHERE k > 300;
-- Arrays hold no arrays: these travel as they are written.
INSERT INTO lists VALUES (1, '{}', '{}', '{}', 'x'), (2, '{1,NULL,3}', E'{"a\\"b","NULL",NULL}', '{1,2,3}', NULL), (3, '{{1,2},{3,4}}', NULL, NULL, ''), (4, '[2:3]={7,8}', '{{a},{b}}', '{}', 'y');
-- @error 23514
INSERT INTO lists VALUES (5, '{}', '{}', '{1,2,3,4}', 'x'), (6, NULL, NULL, NULL, NULL);
INSERT INTO lists (k, v) VALUES (7, 'only'), (8, 'scalars'), (9, NULL);
INSERT INTO lists (k, l) VALUES (10, '{1}'), (11, NULL), (12, '{}');
SELECT * FROM lists ORDER BY k;
INSERT INTO shapes VALUES ('a', '(1,2),(3,4)', '(5,6)'), ('b', NULL, '(0,0)'), ('c', '(0,0),(0,0)', NULL);
SELECT k, bx::text, pt::text FROM shapes ORDER BY k;
-- The definitions change between statements of one form.
INSERT INTO lists (k, v) VALUES (20, 'a'), (21, 'b'), (22, 'c');
ALTER TABLE lists ALTER v TYPE VARCHAR(7);
INSERT INTO lists (k, v) VALUES (23, 'abc'), (24, 'def'), (25, 'g');
-- @error 22001
INSERT INTO lists (k, v) VALUES (26, 'abc'), (27, 'defghijk');
ALTER TABLE lists RENAME v TO "V w";
INSERT INTO lists (k, "V w") VALUES (28, 'abc'), (29, 'def'), (30, 'g');
ALTER TABLE lists DROP COLUMN a;
INSERT INTO lists (k, "V w") VALUES (31, 'abc'), (32, 'def'), (33, 'g');
ALTER TABLE lists ALTER "V w" TYPE INT USING length("V w");
INSERT INTO lists (k, "V w") VALUES (34, 1), (35, NULL), (36, 3);
SELECT k, "V w" FROM lists WHERE k >= 20 ORDER BY k;
PREPARE many(int, varchar, varchar) AS INSERT INTO kinds (k, x, w) VALUES ($1, $2, $3), ($1 + 1, $2 || '"', $3), ($1 + 2, NULL, NULL) RETURNING k, x, w;
EXECUTE many(400, 'a', 'b');
-- @error 23514
EXECUTE many(410, 'a', 'bad');
EXECUTE many(420, '\', '{');
EXECUTE many(430, ',', ',');
EXECUTE many(440, ',', ',');
EXECUTE many(450, ',', ',');
EXECUTE many(460, 'NULL', 'NULL');
INSERT INTO kinds (k, x) VALUES (501, 'a'), (502, 'b'), (503, 'c') ON CONFLICT DO NOTHING;
INSERT INTO s (k, v) VALUES (501, 'a"'), (502, 'b'), (503, 'c') ON CONFLICT (k) DO UPDATE SET v = excluded.v || s.v RETURNING *;
INSERT INTO s (k, v) VALUES (501, 'a"'), (502, 'b'), (504, 'c') ON CONFLICT (k) DO UPDATE SET v = excluded.v || s.v RETURNING *;
BEGIN;
INSERT INTO s (k, v) VALUES (701, '1'), (702, '2'), (703, '3');
SAVEPOINT a;
-- @error 23505
INSERT INTO s (k, v) VALUES (704, '1'), (701, '2'), (705, '3');
ROLLBACK TO a;
INSERT INTO s (k, v) VALUES (704, '1'), (706, '2'), (705, '3');
COMMIT;
SELECT * FROM s WHERE k > 700 ORDER BY k;
DELETE FROM s WHERE k > 500;
-- Built-in types alone: these travel as arrays, text in quotes where there is no binary form.
INSERT INTO kinds (k, c, num, tm, iv, js, jb, bi, ip, r, nm, o, x, by, b, f8) VALUES
 (601, '\', -0.001, '12:00', '1 day', '{"a\\b": "\""}', '{"a\\b": "\"}"}', B'101', '::1', '[1,3)', '\"', 7, 'a\"', '\x5c22', true, 'NaN'),
 (602, '"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (603, 'NULL', 'NaN', '24:00', '-1 mon', ' "NULL"', '"{,}"', B'000', '10.0.0.0/8', 'empty', 'NULL', 4294967295, 'NULL', '', false, '-Infinity'),
 (604, NULL, 0, '00:00:00.5', '0', '[]', 'null', B'111', '1.2.3.4', '(,)', '', 0, '', '\x00', NULL, -0.0);
INSERT INTO kinds (k, c, num, tm, iv, js, jb, bi, ip, r, nm, o, x, by, b, f8) SELECT k + 10, c, num, tm, iv, js, jb, bi, ip, r, nm, o, x || '\', by, b, f8 FROM kinds WHERE k BETWEEN 601 AND 604;
SELECT * FROM kinds WHERE k > 600 ORDER BY k;
