-- Transactions over nodes.

CREATE FUNCTION pg_catalog.recover_prepared_transactions() RETURNS integer
    LANGUAGE C STRICT VOLATILE
    AS 'MODULE_PATHNAME', 'recover_prepared_transactions';
COMMENT ON FUNCTION pg_catalog.recover_prepared_transactions() IS
    'finishes transactions over nodes that were interrupted while they committed';
REVOKE ALL ON FUNCTION pg_catalog.recover_prepared_transactions() FROM PUBLIC;

-- Nodes tell who coordinates a transaction under which id it runs, and since which start of the server
-- that id holds, since a crash may have another transaction use it.

CREATE FUNCTION pg_catalog.citus_internal_transaction_id() RETURNS text
    LANGUAGE C STRICT VOLATILE
    AS 'MODULE_PATHNAME', 'citus_transaction_id';
COMMENT ON FUNCTION pg_catalog.citus_internal_transaction_id() IS
    'id of the running transaction, and the start of the server since which it holds; for other nodes';

CREATE FUNCTION pg_catalog.citus_internal_lost_transaction(id xid8, start bigint) RETURNS boolean
    LANGUAGE C STRICT VOLATILE
    AS 'MODULE_PATHNAME', 'citus_lost_transaction';
COMMENT ON FUNCTION pg_catalog.citus_internal_lost_transaction(xid8, bigint) IS
    'whether a crash took a transaction before it was on disk; NULL when this server cannot tell';
