INSERT INTO t (k) VALUES (1);
INSERT INTO t (k, v, n) VALUES (1, 'one', 1.111), (2, 'two', 2), (3, NULL, NULL), (4, DEFAULT, DEFAULT) RETURNING k, id, v, n, twice, ticket, at;
INSERT INTO t (k, n) SELECT i, i / 3.0 FROM generate_series(10, 20) i RETURNING k, twice;
SELECT currval('tickets'), lastval() IS NOT NULL;
-- @error 428C9
INSERT INTO t (k, id) VALUES (5, 5);
INSERT INTO t (k, id, v) OVERRIDING SYSTEM VALUE VALUES (5, 500, 'id') RETURNING id;
INSERT INTO t (k, id, v) OVERRIDING USER VALUE VALUES (6, 600, 'id') RETURNING id;
-- @error 23505
INSERT INTO t (k, v) VALUES (1, 'one');
-- @error 23505
INSERT INTO t (k, v) VALUES (90, 'x'), (91, 'x'), (90, 'x');
-- @error 23514
INSERT INTO t (k, v, n) VALUES (92, 'y', 1), (93, 'y', -1);
-- @error 22003
INSERT INTO t (k, n) VALUES (1, 12345678);
-- @error 23502
INSERT INTO s (k, n) VALUES (100, NULL);
-- @error 42601
INSERT INTO s (k, n) VALUES (100);
-- @error 42703
INSERT INTO s (k, nope) VALUES (100, 1);
-- @error 22P02
INSERT INTO s (k) VALUES ('abc');
-- @error 42701
INSERT INTO s (k, k) VALUES (1, 2);
INSERT INTO s VALUES (101) RETURNING *;
INSERT INTO s (k, v) VALUES (1 + 101, upper('abc') || 'd'), (length('three') + 98, 'expr') RETURNING *;
INSERT INTO s (v, k) VALUES ((SELECT max(v) FROM s), (SELECT max(k) + 1 FROM s)) RETURNING *;
INSERT INTO w (n, v, k) VALUES (1, 'moved', 301), ((SELECT max(n) + 2 FROM r), 'moved', 302), (3, 'moved', 303) RETURNING *;
INSERT INTO w (v, n, k) VALUES ('places', (SELECT count(*) FROM r), 304), ('places', 5, 305);
INSERT INTO parts (a, k) VALUES ((SELECT array_agg(n::bigint ORDER BY n, id) FROM r), 901), ('{5,6}', 902) RETURNING k, a;
INSERT INTO kinds (i2, x, k, f4, num, vc, c, f8) VALUES ((SELECT count(*) FROM r), (SELECT 'abc'::varchar), 911, (SELECT 1.5::numeric), (SELECT 2.25::float8), (SELECT 'vwx'::text), (SELECT 'c'::text), (SELECT 3)), (7, 'y', 912, 2.5, 3.25, 'z', 'd', 4) RETURNING k, i2, x, f4, num, vc, c, f8;
INSERT INTO o (v) VALUES ('auto') RETURNING id;
INSERT INTO o (id, v) VALUES (9000, 'given') RETURNING id;
INSERT INTO o DEFAULT VALUES RETURNING *;
INSERT INTO r (name) VALUES ('white') RETURNING id, n;
-- @error 23505
INSERT INTO r (name) VALUES ('red');
INSERT INTO r (name, n) VALUES ('red', 5), ('black', 6) ON CONFLICT (name) DO UPDATE SET n = r.n + excluded.n RETURNING name, n;
INSERT INTO s VALUES (1, 'dup', 1) ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO s VALUES (1, 'dup', 1), (200, 'new', 1), (201, 'new', 1) ON CONFLICT (k) DO NOTHING RETURNING *;
INSERT INTO s VALUES (1, 'up', 5), (2, 'up', 6), (202, 'up', 7) ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = s.n + excluded.n RETURNING *;
INSERT INTO s VALUES (3, 'cond', 5), (4, 'cond', 500) ON CONFLICT (k) DO UPDATE SET n = excluded.n WHERE s.n < excluded.n - 100 RETURNING *;
INSERT INTO s VALUES (5, 'c', 1) ON CONFLICT ON CONSTRAINT s_pkey DO UPDATE SET v = excluded.v || s.v RETURNING *;
-- @error 21000
INSERT INTO s VALUES (6, 'x', 1), (6, 'y', 2) ON CONFLICT (k) DO UPDATE SET v = excluded.v;
-- @error 42P10
INSERT INTO s VALUES (6, 'x', 1) ON CONFLICT (v) DO NOTHING;
INSERT INTO s AS alias VALUES (7, 'x', 1) ON CONFLICT (k) DO UPDATE SET v = (SELECT name FROM r WHERE id = 1) RETURNING alias.v;
INSERT INTO s (k, v) SELECT k + 1000, v FROM s WHERE k < 10;
INSERT INTO s (k, v, n) SELECT k, v, n FROM target;
INSERT INTO target SELECT * FROM s;
INSERT INTO target (k, n) SELECT k + 5000, count(*) FROM o GROUP BY k HAVING k IS NOT NULL;
INSERT INTO target SELECT k, 'again', n FROM s WHERE k < 30 ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = target.n + excluded.n;
INSERT INTO target (n, k) SELECT k, n * 100000 FROM s WHERE k BETWEEN 10 AND 15;
INSERT INTO target SELECT k + 20000, v, row_number() OVER (ORDER BY k) FROM s;
INSERT INTO target SELECT * FROM (SELECT k + 30000, v, n FROM s ORDER BY k LIMIT 5) q RETURNING *;
INSERT INTO target SELECT 40000 + id, v, k FROM o WHERE id < 20;
INSERT INTO target SELECT 50000 + a.k, b.v, 1 FROM s a JOIN o b ON a.k = b.id;
INSERT INTO target SELECT 60000 + k, v, n FROM p;
INSERT INTO target SELECT 70000 + id, name, n FROM r;
INSERT INTO target SELECT k + 80000, 'u', 1 FROM s WHERE k < 5 UNION ALL SELECT k + 90000, 'u', 2 FROM s WHERE k < 5;
WITH q AS (SELECT k, v FROM s WHERE k < 4) INSERT INTO target (k, v) SELECT k + 100000, v FROM q RETURNING k;
INSERT INTO p SELECT * FROM target WHERE k < 5;
INSERT INTO p SELECT k, max(v), count(*) FROM o GROUP BY k;
INSERT INTO r (name, n) SELECT v, count(*) FROM o WHERE v IS NOT NULL GROUP BY v ORDER BY v ON CONFLICT DO NOTHING;
-- @error 23502
INSERT INTO s (k, n) SELECT k + 7000, NULL FROM s WHERE k < 20;
-- @error 23505
INSERT INTO s SELECT * FROM target WHERE k < 10;
-- @error 22012
INSERT INTO s SELECT 8000 + k, 'z', 1 / (k - 12) FROM s WHERE k < 20;
-- @params 301, 'p1', 5
-- @params 302, NULL, 6
-- @params 303, 'p3', 7
INSERT INTO s (k, v, n) VALUES ($1, $2, $3) RETURNING *;
-- @params 310, 311
-- @params 312, 313
INSERT INTO s (k, v) VALUES ($1, 'a'), ($2, 'b') ON CONFLICT DO NOTHING;
-- @params 1
-- @params 2
INSERT INTO target SELECT k + 200000 * $1, v, $1 FROM s WHERE k % 10 = $1;
INSERT INTO s SELECT k + 1 FROM s WHERE false;
-- @error 23502
INSERT INTO s TABLE target ON CONFLICT DO NOTHING;
-- Rows of constants and rows of anything else.
INSERT INTO s (k, v, n) VALUES (20001, 'it''s', -1), (20002, E'back\\slash', 2147483647), (20003, '', -2147483648), (20004, 'äöü €', 0) RETURNING *;
INSERT INTO s (n, k) VALUES (1, 20011), (2, 20012), (DEFAULT, 20013);
INSERT INTO s (v, k) VALUES ('a', 20021), (NULL, 20022), ('c' || 'd', 20023), (upper('e'), 20024);
INSERT INTO s VALUES (20031, repeat('x', 5000), 1), (20032, repeat('''', 3000), 2);
INSERT INTO t (k, v, n) VALUES (20001, 'x', 1.005), (20002, DEFAULT, 2), (20003, 'z', 1e3) RETURNING k, v, n, twice;
INSERT INTO o (k, v) VALUES (1, 'one'), (-2, 'two'), (NULL, NULL);
INSERT INTO r (name, n) VALUES ('black', -5), ('white', 6) ON CONFLICT (name) DO UPDATE SET n = excluded.n;
INSERT INTO target VALUES (20001, 'a', 1), (20002, 'b', 2), (20001, 'c', 3) ON CONFLICT (k) DO NOTHING;
-- @error 21000
INSERT INTO target VALUES (20005, 'a', 1), (20005, 'c', 3) ON CONFLICT (k) DO UPDATE SET v = excluded.v;
-- @error 23502
INSERT INTO s (k, n) VALUES (20041, 1), (20042, NULL);
-- @error 23502
INSERT INTO s (k, n) VALUES (20043, 1), (NULL, 1);
-- @error 22003
INSERT INTO s (k, n) VALUES (20044, 1), (20045, 2147483648);
-- @error 22P02
INSERT INTO s (k, n) VALUES (20046, 1), (20047, 'many');
INSERT INTO s (k, n) VALUES (20051, (SELECT count(*) FROM target WHERE k < 0)), (20052, 5);
WITH c AS (SELECT 9 AS n) INSERT INTO s (k, n) VALUES (20061, (SELECT n FROM c)), (20062, 1);
SELECT k, v, n FROM s WHERE k > 20000 ORDER BY k;
SELECT k, v, n, twice FROM t WHERE k > 20000 ORDER BY k;
DELETE FROM s WHERE k > 20000;
DELETE FROM t WHERE k > 20000;
DELETE FROM target WHERE k IN (20001, 20002);
-- A condition that reads the table does not see rows that the statement has written before.
CREATE VIEW alone AS SELECT k, v, n FROM target WHERE NOT EXISTS (SELECT FROM target o WHERE o.k < 0 AND o.k <> target.k) WITH CHECK OPTION;
INSERT INTO alone VALUES (-1, repeat('x', 4500000), 1), (-2, 'y', 2);
SELECT k, length(v), n FROM target WHERE k < 0 ORDER BY k;
DELETE FROM target WHERE k < 0;
DROP VIEW alone;
