-- More rows than fit one batch, and combinations of features.
CREATE TABLE big (k INT NOT NULL, id INT, grp INT, val NUMERIC(12,2), txt TEXT, ts TIMESTAMPTZ, tags TEXT[], doc JSONB, PRIMARY KEY (k, id));
-- @distribute big k
CREATE TABLE other (k INT NOT NULL, n INT, note TEXT);
-- @distribute other k colocate big
CREATE TABLE apart (id INT PRIMARY KEY, grp INT, name TEXT);
-- @distribute apart id
CREATE TABLE dim (grp INT PRIMARY KEY, label TEXT, parent INT);
-- @reference dim
CREATE TABLE loc (grp INT, w NUMERIC);
-- @compare loc
INSERT INTO big SELECT i % 97, i, i % 13, (i * 7919 % 10007) / 3.0, 'text ' || i % 500, timestamptz '2025-01-01 00:00+00' + i * interval '13 minutes',
    ARRAY['t' || i % 3, 't' || i % 7], jsonb_build_object('a', i % 11, 'b', jsonb_build_object('c', i % 5)) FROM generate_series(1, 4000) i;
INSERT INTO other SELECT i % 120, i % 9, repeat('n', i % 40) FROM generate_series(1, 800) i;
INSERT INTO apart SELECT i, i % 13, 'apart ' || i FROM generate_series(1, 150) i;
INSERT INTO dim SELECT i, 'label ' || i, nullif(i / 3, i) FROM generate_series(0, 12) i;
INSERT INTO loc SELECT i, i * 1.5 FROM generate_series(0, 20, 2) i;
