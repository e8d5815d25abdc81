-- Functions and aggregates that distributed plans are made of. Nobody calls them by hand.

CREATE FUNCTION pg_catalog.citus_source(plan bytea, VARIADIC "values" "any")
RETURNS SETOF record LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_source';
COMMENT ON FUNCTION pg_catalog.citus_source(bytea, VARIADIC "any")
IS 'place of a distributed scan in a query; replaced by the planner';

CREATE AGGREGATE pg_catalog.citus_sum_counts(bigint) (
    SFUNC = pg_catalog.int8pl, STYPE = bigint, INITCOND = '0', PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_sum_counts(bigint) IS 'total of partial counts';

CREATE AGGREGATE pg_catalog.citus_sum_int8(bigint) (
    SFUNC = pg_catalog.int8pl, STYPE = bigint, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_sum_int8(bigint) IS 'total of partial sums in bigint';

