-- INSERT of a query's rows: what each shard group can do for itself, and what it cannot.
CREATE DOMAIN small AS INT CHECK (VALUE < 100);
CREATE TYPE pair AS (x INT, y INT);
CREATE TABLE src (gone TEXT, k INT NOT NULL, v TEXT, lost INT, n NUMERIC, d DATE);
ALTER TABLE src DROP COLUMN gone, DROP COLUMN lost;
-- @distribute src k
CREATE TABLE dst (v TEXT DEFAULT 'def', gone INT, n NUMERIC(8,2) CHECK (n >= 0), k INT NOT NULL, twice NUMERIC GENERATED ALWAYS AS (n * 2) STORED,
    age INTERVAL DEFAULT now() - transaction_timestamp(), CONSTRAINT dst_kv UNIQUE (k, v));
ALTER TABLE dst DROP COLUMN gone;
-- @distribute dst k colocate src
CREATE TABLE nul (v TEXT, k INT);
-- @distribute nul k colocate src
CREATE TABLE ser (k INT, id SERIAL, v TEXT, ident INT GENERATED ALWAYS AS IDENTITY);
-- @distribute ser k colocate src
CREATE TABLE other (id INT PRIMARY KEY, k INT, v TEXT);
-- @distribute other id colocate none
CREATE TABLE r (id INT PRIMARY KEY, name TEXT);
-- @reference r
CREATE TABLE r2 (id INT PRIMARY KEY, name TEXT);
-- @reference r2
CREATE TABLE p (k INT, v TEXT, n INT);
-- @compare p
CREATE TABLE dm (k INT, s small, arr INT[], c pair);
-- @distribute dm k colocate src
CREATE TABLE ids (k INT, u UUID DEFAULT gen_random_uuid(), f FLOAT8 DEFAULT random());
-- @distribute ids k colocate src
CREATE TABLE child (k INT, v TEXT, FOREIGN KEY (k, v) REFERENCES dst (k, v));
-- @distribute child k colocate dst
CREATE TABLE names (name TEXT COLLATE "C" PRIMARY KEY, n INT);
-- @distribute names name
CREATE TABLE short (name VARCHAR(4), n INT);
-- @distribute short name
CREATE TABLE tag (k INT, t VARCHAR(4), a VARCHAR(3)[], c CHAR(3), b BIT(2), at TIMESTAMP(0));
-- @distribute tag k colocate src
CREATE VIEW src_view AS SELECT k, v, n FROM src WHERE n < 60;
CREATE VIEW dst_view AS SELECT k AS key, v AS val, n AS num FROM dst;
CREATE VIEW checked AS SELECT k, v, n FROM dst WHERE n < 50 WITH CHECK OPTION;
INSERT INTO src (k, v, n, d) SELECT i, 's' || i % 7, i * 1.5, date '2025-01-01' + i FROM generate_series(1, 60) i;
INSERT INTO other SELECT i, i % 9, 'o' || i FROM generate_series(1, 40) i;
INSERT INTO r SELECT i, 'r' || i FROM generate_series(1, 5) i;
INSERT INTO p SELECT i, 'p' || i, i FROM generate_series(1, 9) i;
INSERT INTO names SELECT 'name' || i, i FROM generate_series(1, 20) i;
CREATE TYPE mood AS ENUM ('sad', 'fine', 'glad');
CREATE TABLE bulk (gone INT, v TEXT, k INT NOT NULL, m mood DEFAULT 'fine', arr TEXT[], j JSONB, at TIMESTAMPTZ DEFAULT now() - (now() - timestamptz '2025-03-01 00:00+00'), s small,
    half INT GENERATED ALWAYS AS (k / 2) STORED, CONSTRAINT bulk_kv UNIQUE (k, v), CONSTRAINT bulk_v CHECK (v <> 'forbidden'));
ALTER TABLE bulk DROP COLUMN gone;
-- @distribute bulk k
CREATE TABLE wide (k BIGINT, txt TEXT, f FLOAT8, b BYTEA, n NUMERIC(12,3), d DATE);
-- @distribute wide k
CREATE TABLE tree (k INT, id INT, parent INT, PRIMARY KEY (k, id), FOREIGN KEY (k, parent) REFERENCES tree (k, id));
-- @distribute tree k
CREATE TABLE rbulk (id INT PRIMARY KEY, name TEXT);
-- @reference rbulk
