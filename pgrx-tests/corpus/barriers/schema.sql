-- Views that are security barriers, and conditions around them.
CREATE TABLE t (k INT, id INT, n INT, v TEXT, PRIMARY KEY (k, id));
-- @distribute t k
INSERT INTO t SELECT i % 10, i, NULLIF(i % 4, 0), 'v' || i % 6 FROM generate_series(1, 60) i;
CREATE TABLE r (id INT PRIMARY KEY, v TEXT);
-- @reference r
INSERT INTO r SELECT i, 'v' || i FROM generate_series(1, 8) i;
CREATE VIEW plain WITH (security_barrier) AS SELECT id, k AS key, n, v, n + 1 AS m FROM t WHERE v <> 'v3';
CREATE VIEW joined WITH (security_barrier) AS SELECT t.k, t.id, r.v AS rv FROM t LEFT JOIN r ON r.id = t.n WHERE t.id > 3;
CREATE VIEW nested WITH (security_barrier) AS SELECT key, id, n FROM plain WHERE id > 5;
CREATE VIEW summed WITH (security_barrier) AS SELECT k, count(*) AS c, max(n) AS n FROM t GROUP BY k;
CREATE VIEW few WITH (security_barrier) AS SELECT k, id FROM t ORDER BY id DESC LIMIT 12;
CREATE VIEW numbered WITH (security_barrier) AS SELECT k, id, row_number() OVER (ORDER BY id) AS w FROM t;
CREATE VIEW distinct_ones WITH (security_barrier) AS SELECT DISTINCT k, n FROM t;
CREATE VIEW both_parts WITH (security_barrier) AS SELECT k, id FROM t WHERE id < 10 UNION ALL SELECT id, id FROM r;
CREATE VIEW many_rows WITH (security_barrier) AS SELECT k, generate_series(1, 2) AS g FROM t WHERE id < 8;
CREATE VIEW changed WITH (security_barrier) AS SELECT k, id, n, v FROM t WHERE v IN ('v1', 'v2') WITH CHECK OPTION;
CREATE TABLE m (k INT, id INT, n INT);
-- @distribute m k colocate t
INSERT INTO m SELECT i % 10, i, 0 FROM generate_series(1, 40) i;
