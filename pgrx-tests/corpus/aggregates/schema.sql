-- One wide table, most of it NULL now and then, groups on one shard and groups on many.
CREATE TABLE m (k INT NOT NULL, g INT, i2 SMALLINT, i4 INT, i8 BIGINT, n NUMERIC, f8 DOUBLE PRECISION, f4 REAL, t TEXT, b BOOLEAN, d DATE, ts TIMESTAMPTZ, iv INTERVAL, arr INT[], j JSONB, bits BIT(8));
-- @distribute m k
INSERT INTO m SELECT i % 17, i % 4, i % 100, CASE WHEN i % 5 <> 0 THEN i * 3 END, CASE WHEN i % 3 <> 0 THEN i * 10000000000 END, CASE WHEN i % 4 <> 0 THEN i / 8.0 END, i / 4.0, i / 2.0,
    CASE WHEN i % 6 <> 0 THEN 't' || i % 9 END, CASE WHEN i % 7 <> 0 THEN i % 2 = 0 END, date '2025-01-01' + i % 30, timestamptz '2025-01-01 00:00+00' + i * interval '1 hour', i * interval '1 minute',
    ARRAY[i % 3, i % 5], jsonb_build_object('i', i % 4), (i % 256)::bit(8) FROM generate_series(1, 200) i;
CREATE TABLE nothing (k INT, i4 INT, n NUMERIC, f8 DOUBLE PRECISION, t TEXT);
-- @distribute nothing k
CREATE TABLE dim (g INT, name TEXT);
-- @reference dim
INSERT INTO dim VALUES (0, 'zero'), (1, 'one'), (2, 'two'), (9, 'nine');
CREATE FUNCTION second_largest_step(int[], int) RETURNS int[] LANGUAGE sql IMMUTABLE AS 'SELECT array_append($1, $2)';
CREATE FUNCTION second_largest_final(int[]) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x FROM unnest($1) x WHERE x IS NOT NULL ORDER BY x DESC OFFSET 1 LIMIT 1';
CREATE AGGREGATE second_largest(int) (SFUNC = second_largest_step, STYPE = int[], FINALFUNC = second_largest_final, INITCOND = '{}');
