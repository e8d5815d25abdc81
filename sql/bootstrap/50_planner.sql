-- Functions and aggregates that distributed plans are made of. Nobody calls them by hand.

CREATE FUNCTION pg_catalog.citus_source(plan bytea, VARIADIC "values" "any")
RETURNS SETOF record LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_source';
COMMENT ON FUNCTION pg_catalog.citus_source(bytea, VARIADIC "any")
IS 'place of a distributed scan in a query; replaced by the planner';

CREATE FUNCTION pg_catalog.citus_cursor_position("cursor" text, "table" oid, "column" integer)
RETURNS text LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_cursor_position';
COMMENT ON FUNCTION pg_catalog.citus_cursor_position(text, oid, integer)
IS 'where the current row of a cursor is: what WHERE CURRENT OF is compared with';

CREATE AGGREGATE pg_catalog.citus_sum_counts(bigint) (
    SFUNC = pg_catalog.int8pl, STYPE = bigint, INITCOND = '0', PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_sum_counts(bigint) IS 'total of partial counts';

CREATE AGGREGATE pg_catalog.citus_sum_int8(bigint) (
    SFUNC = pg_catalog.int8pl, STYPE = bigint, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_sum_int8(bigint) IS 'total of partial sums in bigint';



CREATE FUNCTION pg_catalog.citus_partial_state_step(internal, oid, VARIADIC "any")
RETURNS internal LANGUAGE C IMMUTABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_partial_state_step';
COMMENT ON FUNCTION pg_catalog.citus_partial_state_step(internal, oid, VARIADIC "any")
IS 'transition function of citus_partial_state';

CREATE FUNCTION pg_catalog.citus_partial_state_final(internal)
RETURNS bytea LANGUAGE C IMMUTABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_partial_state_final';
COMMENT ON FUNCTION pg_catalog.citus_partial_state_final(internal)
IS 'final function of citus_partial_state';

CREATE AGGREGATE pg_catalog.citus_partial_state(oid, VARIADIC "any") (
    SFUNC = pg_catalog.citus_partial_state_step, STYPE = internal,
    FINALFUNC = pg_catalog.citus_partial_state_final, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_partial_state(oid, VARIADIC "any")
IS 'transition state of a built-in aggregate over part of the rows';

CREATE FUNCTION pg_catalog.citus_combine_state_step(internal, oid, bytea, anyelement)
RETURNS internal LANGUAGE C IMMUTABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_combine_state_step';
COMMENT ON FUNCTION pg_catalog.citus_combine_state_step(internal, oid, bytea, anyelement)
IS 'transition function of citus_combine_state';

CREATE FUNCTION pg_catalog.citus_combine_state_final(internal, oid, bytea, anyelement)
RETURNS anyelement LANGUAGE C IMMUTABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'citus_combine_state_final';
COMMENT ON FUNCTION pg_catalog.citus_combine_state_final(internal, oid, bytea, anyelement)
IS 'final function of citus_combine_state';

CREATE AGGREGATE pg_catalog.citus_combine_state(oid, bytea, anyelement) (
    SFUNC = pg_catalog.citus_combine_state_step, STYPE = internal,
    FINALFUNC = pg_catalog.citus_combine_state_final, FINALFUNC_EXTRA, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE pg_catalog.citus_combine_state(oid, bytea, anyelement)
IS 'result of a built-in aggregate from the states of all parts; the last argument gives the type';
