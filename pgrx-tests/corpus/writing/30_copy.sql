COPY s FROM STDIN;
1	one	1
2	\N	2
3	tab\there	3
4	back\\slash	4
5	nl\nhere	5
6		6
\.
COPY s (v, k) FROM STDIN WITH (FORMAT csv, HEADER true);
v,k
"quoted, comma",10
"two
lines",11
"say ""hi""",12
,13
"",14
\.
COPY s FROM STDIN WITH (DELIMITER '|', NULL 'nil');
20|nil|1
21|a\|b|2
\.
COPY s FROM STDIN WITH (FORMAT csv, QUOTE '''', ESCAPE '\', FORCE_NULL (v), FORCE_NOT_NULL (n));
30,'it\'s',3
31,'',3
\.
COPY s FROM STDIN WHERE k % 2 = 0;
40	even	1
41	odd	1
42	even	1
\.
COPY t (k, v, n) FROM STDIN WITH (FORMAT csv);
1,a,1.5
2,b,
3,c,0
\.
COPY t (k, n) FROM STDIN;
7	1
8	2
\.
SELECT k, v, n, twice, at FROM t;
-- @error 22P02
COPY s FROM STDIN;
50	fine	1
51	bad	x
\.
-- @error 23505
COPY s FROM STDIN;
60	fine	1
1	dup	1
\.
-- @error 23514
COPY t (k, v, n) FROM STDIN;
70	fine	1
71	bad	-1
\.
-- @error 23502
COPY s FROM STDIN;
80	fine	1
\N	null key	1
\.
-- @error 22P04
COPY s FROM STDIN;
90	too few
\.
-- @error 22P04
COPY s FROM STDIN;
90	too	1	many
\.
-- @error 22P04
COPY s FROM STDIN WITH (FORMAT csv);
91,"unterminated,1
\.
-- @error 42703
COPY s (k, nope) FROM STDIN;
1	1
\.
-- @error 22P04
COPY s (k, v) FROM STDIN WITH (FORMAT csv, HEADER match);
v,k
1,1
\.
COPY s (v, k) FROM STDIN WITH (FORMAT csv, HEADER match);
v,k
m,95
\.
SELECT * FROM s;
COPY s TO STDOUT;
COPY s (k, v) TO STDOUT WITH (FORMAT csv, HEADER, NULL 'nil');
COPY t TO STDOUT WITH (DELIMITER ',');
COPY (SELECT k, count(*) FROM s GROUP BY k) TO STDOUT;
-- @ordered
COPY (SELECT * FROM s ORDER BY k) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (v));
-- @ordered
COPY (SELECT k, v FROM s ORDER BY k) TO STDOUT WITH (FORMAT binary);
COPY (DELETE FROM s WHERE k > 40 RETURNING k) TO STDOUT;
COPY r (name) FROM STDIN;
copied a
copied b
\.
COPY r TO STDOUT;
-- @error 23505
COPY r (name) FROM STDIN;
copied c
copied a
\.
COPY p FROM STDIN;
1	local	1
\.
BEGIN;
COPY s FROM STDIN;
1001	in transaction	1
1002	in transaction	1
\.
SELECT count(*) FROM s WHERE v = 'in transaction';
UPDATE s SET n = 5 WHERE k = 1001;
COPY (SELECT * FROM s WHERE k > 1000) TO STDOUT;
ROLLBACK;
SELECT count(*) FROM s WHERE v = 'in transaction';
COPY s FROM PROGRAM 'printf "501\tprogram\t1\n502\tprogram\t2\n"';
COPY s (k, v) FROM STDIN WITH (FORMAT csv, ENCODING 'LATIN1');
601,abc
\.
COPY s (k, v) FROM STDIN WITH (FREEZE false);
602	日本語
\.
SELECT v FROM s WHERE k = 602;
