-- Statistics that are kept in shared memory, and their views.

-- Connections and queries per database ----------------------------------------------------------

CREATE FUNCTION pg_catalog.citus_stat_counters(
    database_id oid DEFAULT 0, OUT database_id oid,
    OUT connection_establishment_succeeded bigint, OUT connection_establishment_failed bigint,
    OUT connection_reused bigint, OUT query_execution_single_shard bigint,
    OUT query_execution_multi_shard bigint, OUT stats_reset timestamptz) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_stat_counters' LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pg_catalog.citus_stat_counters(oid) IS
    'counters of a database, or of all with 0, since they were reset';

CREATE FUNCTION pg_catalog.citus_stat_counters_reset(database_oid oid DEFAULT 0) RETURNS void
    AS 'MODULE_PATHNAME', 'citus_stat_counters_reset' LANGUAGE C STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION pg_catalog.citus_stat_counters_reset(oid) FROM PUBLIC;
COMMENT ON FUNCTION pg_catalog.citus_stat_counters_reset(oid) IS
    'sets the counters of a database to zero, of this one with 0';

CREATE VIEW citus.citus_stat_counters AS
    SELECT d.oid, d.datname AS name,
        coalesce(c.connection_establishment_succeeded, 0) AS connection_establishment_succeeded,
        coalesce(c.connection_establishment_failed, 0) AS connection_establishment_failed,
        coalesce(c.connection_reused, 0) AS connection_reused,
        coalesce(c.query_execution_single_shard, 0) AS query_execution_single_shard,
        coalesce(c.query_execution_multi_shard, 0) AS query_execution_multi_shard,
        c.stats_reset
    FROM pg_catalog.pg_database d
    LEFT JOIN pg_catalog.citus_stat_counters() c ON c.database_id = d.oid;
ALTER VIEW citus.citus_stat_counters SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.citus_stat_counters TO PUBLIC;
COMMENT ON VIEW pg_catalog.citus_stat_counters IS
    'connections and distributed queries of each database since its counters were reset';

-- Statements ------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.citus_executor_name(executor_type integer) RETURNS text
    AS 'MODULE_PATHNAME', 'citus_executor_name' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_executor_name(integer) IS
    'name of an executor in citus_query_stats';

CREATE FUNCTION citus_internal.query_stats(
    OUT queryid bigint, OUT userid oid, OUT dbid oid, OUT executor bigint, OUT partition_key text,
    OUT calls bigint, OUT total_exec_time double precision, OUT min_exec_time double precision,
    OUT max_exec_time double precision, OUT mean_exec_time double precision,
    OUT stddev_exec_time double precision) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_query_stats' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.query_stats() IS
    'calls and times of distributed queries of all users, by tenant';

CREATE FUNCTION pg_catalog.citus_query_stats(
    OUT queryid bigint, OUT userid oid, OUT dbid oid, OUT executor bigint, OUT partition_key text,
    OUT calls bigint) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    -- What other users ask for is their business and the monitoring's.
    SELECT s.queryid, s.userid, s.dbid, s.executor, s.partition_key, s.calls
    FROM citus_internal.query_stats() s
    WHERE s.userid = CURRENT_USER::regrole OR pg_has_role('pg_read_all_stats', 'USAGE');
END;
COMMENT ON FUNCTION pg_catalog.citus_query_stats() IS 'calls of distributed queries by tenant';

CREATE FUNCTION citus_internal.statement_texts(
    OUT queryid bigint, OUT userid oid, OUT dbid oid, OUT query text) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source text;
BEGIN
    SELECT format('%I.pg_stat_statements', nspname) INTO source
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements';
    IF source IS NOT NULL AND current_setting('pg_stat_statements.max', true) IS NOT NULL THEN
        RETURN QUERY EXECUTE 'SELECT DISTINCT ON (s.queryid, s.userid, s.dbid)'
            ' s.queryid, s.userid, s.dbid, s.query FROM ' || source || ' s';
    END IF;
END $$;
COMMENT ON FUNCTION citus_internal.statement_texts() IS
    'texts of statements from pg_stat_statements, nothing where that is not in use';

CREATE FUNCTION citus_internal.statements(
    OUT queryid bigint, OUT userid oid, OUT dbid oid, OUT query text, OUT executor bigint,
    OUT partition_key text, OUT calls bigint, OUT total_exec_time double precision,
    OUT min_exec_time double precision, OUT max_exec_time double precision,
    OUT mean_exec_time double precision, OUT stddev_exec_time double precision)
    RETURNS SETOF record
    LANGUAGE sql
BEGIN ATOMIC
    SELECT s.queryid, s.userid, s.dbid, t.query, s.executor, s.partition_key, s.calls,
        s.total_exec_time, s.min_exec_time, s.max_exec_time, s.mean_exec_time, s.stddev_exec_time
    FROM citus_internal.query_stats() s
    LEFT JOIN citus_internal.statement_texts() t
        ON t.queryid = s.queryid AND t.userid = s.userid AND t.dbid = s.dbid
    WHERE s.userid = CURRENT_USER::regrole OR pg_has_role('pg_read_all_stats', 'USAGE');
END;
COMMENT ON FUNCTION citus_internal.statements() IS
    'calls and times of distributed queries that the user may see';

CREATE FUNCTION pg_catalog.citus_stat_statements(
    OUT queryid bigint, OUT userid oid, OUT dbid oid, OUT query text, OUT executor bigint,
    OUT partition_key text, OUT calls bigint) RETURNS SETOF record
    LANGUAGE sql
BEGIN ATOMIC
    SELECT s.queryid, s.userid, s.dbid, s.query, s.executor, s.partition_key, s.calls
    FROM citus_internal.statements() s;
END;
COMMENT ON FUNCTION pg_catalog.citus_stat_statements() IS
    'calls of distributed queries by tenant, with their texts from pg_stat_statements';

CREATE FUNCTION pg_catalog.citus_stat_statements_reset() RETURNS void
    AS 'MODULE_PATHNAME', 'citus_stat_statements_reset' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION pg_catalog.citus_stat_statements_reset() FROM PUBLIC;
COMMENT ON FUNCTION pg_catalog.citus_stat_statements_reset() IS
    'forgets what citus_stat_statements shows';

CREATE VIEW citus.citus_stat_statements AS
    SELECT queryid, userid, dbid, query, pg_catalog.citus_executor_name(executor::integer) AS executor,
        partition_key, calls, total_exec_time, min_exec_time, max_exec_time, mean_exec_time,
        stddev_exec_time
    FROM citus_internal.statements();
ALTER VIEW citus.citus_stat_statements SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.citus_stat_statements TO PUBLIC;
COMMENT ON VIEW pg_catalog.citus_stat_statements IS
    'calls and times in milliseconds of distributed queries, by tenant';

-- Tenants ---------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.citus_stat_tenants_local_internal(
    return_all_tenants boolean DEFAULT false, OUT colocation_id integer, OUT tenant_attribute text,
    OUT read_count_in_this_period integer, OUT read_count_in_last_period integer,
    OUT query_count_in_this_period integer, OUT query_count_in_last_period integer,
    OUT cpu_usage_in_this_period double precision, OUT cpu_usage_in_last_period double precision,
    OUT score bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_stat_tenants_local' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_stat_tenants_local_internal(boolean) IS
    'what this node knows about its busiest tenants';

CREATE FUNCTION pg_catalog.citus_stat_tenants_local(
    return_all_tenants boolean DEFAULT false, OUT colocation_id integer, OUT tenant_attribute text,
    OUT read_count_in_this_period integer, OUT read_count_in_last_period integer,
    OUT query_count_in_this_period integer, OUT query_count_in_last_period integer,
    OUT cpu_usage_in_this_period double precision, OUT cpu_usage_in_last_period double precision,
    OUT score bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_stat_tenants_local' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_stat_tenants_local(boolean) IS
    'the busiest tenants of this node, or all that it tracks';

CREATE FUNCTION pg_catalog.citus_stat_tenants(
    return_all_tenants boolean DEFAULT false, OUT nodeid integer, OUT colocation_id integer,
    OUT tenant_attribute text,
    OUT read_count_in_this_period integer, OUT read_count_in_last_period integer,
    OUT query_count_in_this_period integer, OUT query_count_in_last_period integer,
    OUT cpu_usage_in_this_period double precision, OUT cpu_usage_in_last_period double precision,
    OUT score bigint) RETURNS SETOF record
    LANGUAGE sql
BEGIN ATOMIC
    SELECT n.nodeid, t.colocation_id, t.tenant_attribute,
        t.read_count_in_this_period, t.read_count_in_last_period,
        t.query_count_in_this_period, t.query_count_in_last_period,
        t.cpu_usage_in_this_period, t.cpu_usage_in_last_period, t.score
    FROM citus_internal.query_nodes(CASE WHEN return_all_tenants
            THEN 'SELECT * FROM pg_catalog.citus_stat_tenants_local(true)'
            ELSE 'SELECT * FROM pg_catalog.citus_stat_tenants_local(false)' END) n,
        jsonb_to_recordset(n.result) AS t(
            colocation_id integer, tenant_attribute text,
            read_count_in_this_period integer, read_count_in_last_period integer,
            query_count_in_this_period integer, query_count_in_last_period integer,
            cpu_usage_in_this_period double precision, cpu_usage_in_last_period double precision,
            score bigint)
    ORDER BY t.score DESC
    LIMIT CASE WHEN NOT return_all_tenants
        THEN current_setting('citus.stat_tenants_limit')::bigint END;
END;
COMMENT ON FUNCTION pg_catalog.citus_stat_tenants(boolean) IS
    'the busiest tenants of all nodes, or all that are tracked';

CREATE FUNCTION pg_catalog.citus_stat_tenants_local_reset() RETURNS void
    AS 'MODULE_PATHNAME', 'citus_stat_tenants_local_reset' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_stat_tenants_local_reset() IS
    'forgets the tenants of this node';

CREATE FUNCTION pg_catalog.citus_stat_tenants_reset() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT NULL::void FROM (
        SELECT count(*) FROM citus_internal.query_nodes(
            'SELECT pg_catalog.citus_stat_tenants_local_reset()::pg_catalog.text AS done')) x;
END;
COMMENT ON FUNCTION pg_catalog.citus_stat_tenants_reset() IS 'forgets the tenants of all nodes';

-- Names of tenants are data of tables; only the monitoring may see them.
REVOKE ALL ON FUNCTION
    pg_catalog.citus_stat_tenants_local_internal(boolean),
    pg_catalog.citus_stat_tenants_local(boolean), pg_catalog.citus_stat_tenants(boolean),
    pg_catalog.citus_stat_tenants_local_reset(), pg_catalog.citus_stat_tenants_reset()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pg_catalog.citus_stat_tenants_local(boolean), pg_catalog.citus_stat_tenants(boolean)
    TO pg_monitor;

CREATE VIEW citus.citus_stat_tenants_local AS
    SELECT colocation_id, tenant_attribute, read_count_in_this_period,
        read_count_in_last_period, query_count_in_this_period, query_count_in_last_period,
        cpu_usage_in_this_period, cpu_usage_in_last_period
    FROM pg_catalog.citus_stat_tenants_local() ORDER BY score DESC;
ALTER VIEW citus.citus_stat_tenants_local SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.citus_stat_tenants_local TO pg_monitor;
COMMENT ON VIEW pg_catalog.citus_stat_tenants_local IS 'the busiest tenants of this node';

CREATE VIEW citus.citus_stat_tenants AS
    SELECT nodeid, colocation_id, tenant_attribute, read_count_in_this_period,
        read_count_in_last_period, query_count_in_this_period, query_count_in_last_period,
        cpu_usage_in_this_period, cpu_usage_in_last_period
    FROM pg_catalog.citus_stat_tenants() ORDER BY score DESC;
ALTER VIEW citus.citus_stat_tenants SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.citus_stat_tenants TO pg_monitor;
COMMENT ON VIEW pg_catalog.citus_stat_tenants IS 'the busiest tenants of all nodes';
