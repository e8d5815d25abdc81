-- Snapshots that a node holds for a statement of the coordinator. The coordinator calls these
-- functions as its client's user; all they change is as of when the session reads.

CREATE FUNCTION pg_catalog.citus_internal_hold_snapshot(number integer) RETURNS void
    LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_hold_snapshot';
COMMENT ON FUNCTION pg_catalog.citus_internal_hold_snapshot(integer) IS
    'holds the snapshot of this moment under a number until the end of the transaction';

CREATE FUNCTION pg_catalog.citus_internal_read_with_snapshot(number integer) RETURNS void
    LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_read_with_snapshot';
COMMENT ON FUNCTION pg_catalog.citus_internal_read_with_snapshot(integer) IS
    'lets the queries that follow read with a snapshot that is held; 0 ends this';

CREATE FUNCTION pg_catalog.citus_internal_drop_snapshot(number integer) RETURNS void
    LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_drop_snapshot';
COMMENT ON FUNCTION pg_catalog.citus_internal_drop_snapshot(integer) IS
    'drops a snapshot that is held';
