CREATE TABLE dist (k INT PRIMARY KEY, v TEXT);
INSERT INTO dist SELECT i, 'v' || i FROM generate_series(1, 20) i;
SELECT create_distributed_table('dist', 'k', shard_count := 4);
CREATE TABLE ref (id INT PRIMARY KEY, v TEXT);
SELECT create_reference_table('ref');
CREATE TABLE plain (id INT PRIMARY KEY, v TEXT, j JSON, p POINT, n NUMERIC, twice INT GENERATED ALWAYS AS (1 * 2) STORED);
CREATE TABLE no_key (a INT, b INT, t TEXT, UNIQUE (a));
CREATE TABLE with_nulls (k INT, v TEXT);
INSERT INTO with_nulls VALUES (1, 'a'), (NULL, 'b');
CREATE TABLE empty (k INT, dropped INT, v TEXT);
ALTER TABLE empty DROP COLUMN dropped;
CREATE TABLE parent (k INT, v TEXT);
CREATE TABLE child () INHERITS (parent);
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS k;
CREATE SEQUENCE a_sequence;
CREATE INDEX an_index ON plain (v);
CREATE TYPE a_type AS (k INT);
CREATE TABLE "we""ird
name" ("k""
k" INT, v TEXT);
CREATE TABLE many (k INT, c TEXT, EXCLUDE USING btree (c WITH =));
CREATE ROLE hostile_alice;
CREATE ROLE hostile_mallory;
GRANT CREATE, USAGE ON SCHEMA public TO hostile_alice, hostile_mallory;
CREATE TABLE alices (k INT, v TEXT);
ALTER TABLE alices OWNER TO hostile_alice;
CREATE SCHEMA closed;
CREATE TABLE closed.secret (k INT, v TEXT);
