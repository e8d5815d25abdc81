-- As whom a node runs the statements of a transaction that follow: those of one session there are
-- of several users where the role changes within a transaction on the coordinator.
CREATE FUNCTION pg_catalog.citus_internal_act_as(role text, restricted boolean, proof text)
    RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_act_as';
COMMENT ON FUNCTION pg_catalog.citus_internal_act_as(text, boolean, text) IS
    'run the statements of the transaction that follow as another role; for other nodes';

-- As whom a node checks the rights of the tables in a task. What came in by a view or rule is
-- checked as its owner, which only the coordinator can know: its call is proven
-- (docs/security.md), superusers need no proof. The second function only takes back.

CREATE FUNCTION pg_catalog.citus_internal_check_as(tables text[], proof text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_check_as';
COMMENT ON FUNCTION pg_catalog.citus_internal_check_as(text[], text) IS
    'check the rights on tables of the statements that follow as other roles; for other nodes';

CREATE FUNCTION pg_catalog.citus_internal_check_as_self() RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'citus_check_as_self';
COMMENT ON FUNCTION pg_catalog.citus_internal_check_as_self() IS
    'check the rights on tables as the current user again';
