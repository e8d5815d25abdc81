-- Views. They are created in schema citus and moved, as all relations (see 02_catalogs.sql).

CREATE VIEW citus.pg_dist_shard_placement AS
    SELECT p.shardid, p.shardstate, p.shardlength, n.nodename, n.nodeport, p.placementid
    FROM pg_catalog.pg_dist_placement p
    JOIN pg_catalog.pg_dist_node n ON n.groupid = p.groupid AND n.noderole = 'primary';
ALTER VIEW citus.pg_dist_shard_placement ALTER COLUMN placementid
    SET DEFAULT nextval('pg_catalog.pg_dist_placement_placementid_seq'::regclass);
ALTER VIEW citus.pg_dist_shard_placement SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.pg_dist_shard_placement IS 'placements of shards with their nodes';

CREATE VIEW citus.citus_nodes AS
    SELECT nodename, nodeport,
        CASE groupid WHEN 0 THEN 'coordinator' ELSE 'worker' END AS role,
        isactive AS active
    FROM pg_catalog.pg_dist_node;
ALTER VIEW citus.citus_nodes SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_nodes IS 'nodes of the cluster';

-- Tables ----------------------------------------------------------------------------------------

CREATE FUNCTION citus_internal.table_type(partmethod "char", repmodel "char", colocationid integer)
    RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN partmethod <> 'n' THEN 'distributed'
        WHEN repmodel = 't' THEN 'reference'
        WHEN colocationid = 0 THEN 'local'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_dist_schema s
            WHERE s.colocationid = table_type.colocationid) THEN 'schema'
        ELSE 'distributed' END;
END;
COMMENT ON FUNCTION citus_internal.table_type("char", "char", integer) IS
    'what kind of Citus table a row of pg_dist_partition is';

CREATE VIEW citus.citus_tables AS
    SELECT p.logicalrelid AS table_name,
        citus_internal.table_type(p.partmethod, p.repmodel, p.colocationid) AS citus_table_type,
        coalesce(pg_catalog.column_to_column_name(p.logicalrelid, p.partkey), '<none>')
            AS distribution_column,
        p.colocationid AS colocation_id,
        pg_catalog.pg_size_pretty(
            pg_catalog.citus_total_relation_size(p.logicalrelid, fail_on_error := false))
            AS table_size,
        (SELECT count(*) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = p.logicalrelid)
            AS shard_count,
        pg_catalog.pg_get_userbyid(c.relowner) AS table_owner,
        a.amname AS access_method
    FROM pg_catalog.pg_dist_partition p
    JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid
    LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
    ORDER BY p.logicalrelid::text;
COMMENT ON VIEW citus.citus_tables IS 'distributed, reference and managed local tables';
GRANT SELECT ON citus.citus_tables TO PUBLIC;

CREATE VIEW citus.citus_shards AS
    SELECT s.logicalrelid AS table_name, s.shardid,
        pg_catalog.shard_name(s.logicalrelid, s.shardid) AS shard_name,
        citus_internal.table_type(t.partmethod, t.repmodel, t.colocationid) AS citus_table_type,
        t.colocationid AS colocation_id,
        n.nodename, n.nodeport,
        z.size AS shard_size
    FROM pg_catalog.pg_dist_shard s
    JOIN pg_catalog.pg_dist_partition t ON t.logicalrelid = s.logicalrelid
    JOIN pg_catalog.pg_dist_placement p ON p.shardid = s.shardid
    JOIN pg_catalog.pg_dist_node n ON n.groupid = p.groupid AND n.noderole = 'primary'
    LEFT JOIN citus_internal.shard_sizes() z ON z.shardid = s.shardid AND z.groupid = p.groupid
    WHERE p.shardstate = 1
    ORDER BY s.logicalrelid::text, s.shardid;
ALTER VIEW citus.citus_shards SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_shards IS 'shards with their nodes and sizes';

CREATE VIEW citus.citus_schemas AS
    SELECT s.schemaid::regnamespace AS schema_name, s.colocationid AS colocation_id,
        pg_catalog.pg_size_pretty(coalesce(sum(
            pg_catalog.citus_total_relation_size(p.logicalrelid, fail_on_error := false)), 0))
            AS schema_size,
        pg_catalog.pg_get_userbyid(n.nspowner) AS schema_owner
    FROM pg_catalog.pg_dist_schema s
    JOIN pg_catalog.pg_namespace n ON n.oid = s.schemaid
    LEFT JOIN pg_catalog.pg_dist_partition p ON p.colocationid = s.colocationid
    GROUP BY s.schemaid, s.colocationid, n.nspowner
    ORDER BY s.schemaid::regnamespace::text;
COMMENT ON VIEW citus.citus_schemas IS 'distributed schemas';
GRANT SELECT ON citus.citus_schemas TO PUBLIC;

-- Users expect these two in public; a database may do without that schema.
DO $$
DECLARE
    target text := CASE WHEN to_regnamespace('public') IS NULL THEN 'pg_catalog' ELSE 'public' END;
BEGIN
    EXECUTE format('ALTER VIEW citus.citus_tables SET SCHEMA %I', target);
    EXECUTE format('ALTER VIEW citus.citus_schemas SET SCHEMA %I', target);
END $$;

CREATE VIEW citus.citus_shards_on_worker AS
    SELECT schema_name AS "Schema", shard_name AS "Name", table_type AS "Type", owner_name AS "Owner"
    FROM pg_catalog.citus_shards_on_worker();
ALTER VIEW citus.citus_shards_on_worker SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_shards_on_worker IS 'shards that are stored on this node';

CREATE VIEW citus.citus_shard_indexes_on_worker AS
    SELECT schema_name AS "Schema", index_name AS "Name", table_type AS "Type",
        owner_name AS "Owner", shard_name AS "Table"
    FROM pg_catalog.citus_shard_indexes_on_worker();
ALTER VIEW citus.citus_shard_indexes_on_worker SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_shard_indexes_on_worker IS
    'indexes of shards that are stored on this node';

-- Partitions by time ----------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.time_partition_range(
    table_name regclass, OUT lower_bound text, OUT upper_bound text) RETURNS record
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    bound text;
    -- A bound is a quoted literal, a number or a word; quotes are doubled within a literal.
    one CONSTANT text := '\((?:''((?:[^'']|'''')*)''|([^(),'']+))\)';
    parts text[];
BEGIN
    SELECT pg_get_expr(c.relpartbound, c.oid) INTO bound
    FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
    WHERE c.oid = table_name AND p.partstrat = 'r' AND p.partnatts = 1;
    IF bound IS NULL THEN
        RAISE EXCEPTION 'relation "%" is not a range partition with one partition column', table_name
            USING ERRCODE = 'wrong_object_type';
    END IF;
    parts := regexp_match(bound, '^FOR VALUES FROM ' || one || ' TO ' || one || '$');
    lower_bound := replace(coalesce(parts[1], nullif(parts[2], 'MINVALUE')), '''''', '''');
    upper_bound := replace(coalesce(parts[3], nullif(parts[4], 'MAXVALUE')), '''''', '''');
END $$;
COMMENT ON FUNCTION pg_catalog.time_partition_range(regclass) IS
    'bounds of a range partition; null where it has none';

CREATE VIEW citus.time_partitions AS
    SELECT i.inhparent::regclass AS parent_table, a.attname AS partition_column,
        c.oid::regclass AS partition, r.lower_bound AS from_value, r.upper_bound AS to_value,
        m.amname AS access_method
    FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
    LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
    CROSS JOIN LATERAL pg_catalog.time_partition_range(c.oid::regclass) r
    WHERE p.partstrat = 'r' AND p.partnatts = 1
        -- Shards of partitions are no partitions of the user's.
        AND NOT pg_catalog.relation_is_a_known_shard(c.oid::regclass)
    ORDER BY i.inhparent::regclass::text, r.lower_bound;
ALTER VIEW citus.time_partitions SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.time_partitions IS 'partitions of tables that are partitioned by one column';

-- Activity --------------------------------------------------------------------------------------

CREATE VIEW citus.citus_stat_activity AS
    SELECT * FROM pg_catalog.citus_stat_activity();
ALTER VIEW citus.citus_stat_activity SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_stat_activity IS 'pg_stat_activity of all nodes';

CREATE VIEW citus.citus_dist_stat_activity AS
    SELECT * FROM pg_catalog.citus_stat_activity
    WHERE NOT is_worker_query AND backend_type = 'client backend';
ALTER VIEW citus.citus_dist_stat_activity SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_dist_stat_activity IS
    'sessions of clients on all nodes, without those that nodes opened to each other';

CREATE VIEW citus.citus_worker_stat_activity AS
    SELECT n.nodename, n.nodeport, a.*
    FROM pg_catalog.citus_stat_activity a
    LEFT JOIN pg_catalog.pg_dist_node n ON n.nodeid = a.nodeid
    WHERE a.is_worker_query;
ALTER VIEW citus.citus_worker_stat_activity SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_worker_stat_activity IS
    'sessions that nodes opened to each other, with the node they lead to';

CREATE VIEW citus.citus_locks AS
    SELECT * FROM pg_catalog.citus_locks();
ALTER VIEW citus.citus_locks SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_locks IS 'pg_locks of all nodes';

CREATE VIEW citus.citus_lock_waits AS
    WITH activity AS MATERIALIZED (
        SELECT global_pid, query FROM pg_catalog.citus_stat_activity() WHERE NOT is_worker_query)
    SELECT w.waiting_gpid, w.blocking_gpid,
        waiting.query AS blocked_statement,
        blocking.query AS current_statement_in_blocking_process,
        pg_catalog.citus_nodeid_for_gpid(w.waiting_gpid) AS waiting_nodeid,
        pg_catalog.citus_nodeid_for_gpid(w.blocking_gpid) AS blocking_nodeid
    FROM (SELECT DISTINCT b.waiting_global_pid AS waiting_gpid,
            b.blocking_global_pid AS blocking_gpid
        FROM pg_catalog.citus_internal_global_blocked_processes() b) w
    LEFT JOIN activity waiting ON waiting.global_pid = w.waiting_gpid
    LEFT JOIN activity blocking ON blocking.global_pid = w.blocking_gpid
    WHERE w.waiting_gpid <> w.blocking_gpid;
ALTER VIEW citus.citus_lock_waits SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_lock_waits IS
    'sessions that wait for locks of other sessions, on any node';

-- Statistics of columns from those of the shards, which count by their rows.
CREATE VIEW citus.citus_stats AS
    WITH shard AS MATERIALIZED (
        SELECT n.nspname AS schemaname, c.relname AS tablename, s.shardid,
            c.oid AS relid, d.nodeid
        FROM pg_catalog.pg_dist_shard s
        JOIN pg_catalog.pg_class c ON c.oid = s.logicalrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_dist_placement p ON p.shardid = s.shardid AND p.shardstate = 1
        JOIN pg_catalog.pg_dist_node d ON d.groupid = p.groupid AND d.noderole = 'primary'
    ), found AS MATERIALIZED (
        SELECT t.schemaname, t.tablename, f.attname, f.null_frac, f.vals, f.freqs,
            f.reltuples
        FROM citus_internal.query_nodes(
                'SELECT s.schemaname, s.tablename, s.attname, s.null_frac,'
                ' s.most_common_vals::pg_catalog.text AS vals, s.most_common_freqs AS freqs,'
                ' c.reltuples FROM pg_catalog.pg_stats s'
                ' JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname'
                ' JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename'
                ' WHERE c.reltuples > 0 AND s.tablename ~ ''_[1-9][0-9]{0,17}$''') q,
            jsonb_to_recordset(q.result) AS f(
                schemaname name, tablename name, attname text, null_frac real, vals text,
                freqs real[], reltuples double precision)
        JOIN shard t ON t.shardid = citus_internal.shard_id_of_name(f.tablename)
            AND t.schemaname = f.schemaname
        WHERE t.nodeid = q.nodeid
    ), total AS (
        SELECT schemaname, tablename, attname, sum(reltuples) AS tuples,
            (sum(null_frac * reltuples) / sum(reltuples))::real AS null_frac
        FROM found GROUP BY schemaname, tablename, attname
    ), common AS (
        SELECT f.schemaname, f.tablename, f.attname, v.val, sum(v.freq * f.reltuples) AS tuples
        FROM found f, unnest(f.vals::text[], f.freqs) v(val, freq)
        GROUP BY f.schemaname, f.tablename, f.attname, v.val
    )
    SELECT t.schemaname, t.tablename, t.attname, t.null_frac,
        array_agg(c.val ORDER BY c.tuples DESC, c.val) FILTER (WHERE c.val IS NOT NULL)
            AS most_common_vals,
        array_agg((c.tuples / t.tuples)::real ORDER BY c.tuples DESC, c.val)
            FILTER (WHERE c.val IS NOT NULL) AS most_common_freqs
    FROM total t LEFT JOIN common c USING (schemaname, tablename, attname)
    GROUP BY t.schemaname, t.tablename, t.attname, t.null_frac;
ALTER VIEW citus.citus_stats SET SCHEMA pg_catalog;
COMMENT ON VIEW pg_catalog.citus_stats IS 'pg_stats of distributed tables, from the statistics of their shards';

GRANT SELECT ON
    pg_catalog.pg_dist_shard_placement, pg_catalog.citus_nodes, pg_catalog.citus_shards,
    pg_catalog.citus_shards_on_worker, pg_catalog.citus_shard_indexes_on_worker,
    pg_catalog.time_partitions, pg_catalog.citus_stat_activity,
    pg_catalog.citus_dist_stat_activity, pg_catalog.citus_worker_stat_activity,
    pg_catalog.citus_locks, pg_catalog.citus_lock_waits, pg_catalog.citus_stats
    TO PUBLIC;
