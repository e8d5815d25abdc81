-- What happens on all nodes. The queries run on every node as the calling user, so everybody sees
-- what PostgreSQL shows him there. Bodies are bound at creation (BEGIN ATOMIC), because ordinary
-- users cannot name what is in citus_internal.

CREATE FUNCTION citus_internal.query_nodes(
    query text, OUT nodeid integer, OUT nodename text, OUT nodeport integer, OUT result jsonb,
    OUT owners jsonb)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_query_nodes' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.query_nodes(text) IS
    'the rows of a query on this and all other nodes, as a JSON array for each node, and the global process ids of the sessions that its backends work for';

-- Whose backends the nodes have is known on the coordinator: it opened the connections, and what a
-- client calls itself does not matter (owners). Elsewhere, and for other databases, only the name
-- that the coordinator's sessions give themselves can be shown (owners is null); nothing but what
-- is shown depends on it.
CREATE FUNCTION citus_internal.gpid_of(
    owners jsonb, application_name text, nodeid integer, pid integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(
        CASE WHEN owners IS NULL
            THEN substring(application_name from '^citus_[a-z_]+ gpid=([0-9]{1,18})$')
            ELSE owners ->> pid::text END::bigint,
        nodeid::bigint * 10000000000 + pid);
END;
COMMENT ON FUNCTION citus_internal.gpid_of(jsonb, text, integer, integer) IS
    'global process id of the client session that a session works for';

CREATE FUNCTION citus_internal.kept_connections(
    OUT database oid, OUT nodeid integer, OUT pid integer, OUT kept_since timestamptz,
    OUT kept_until timestamptz) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_kept_connections' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.kept_connections() IS
    'connections that sessions of this server have left for those that come, with the process id on the node';

-- Nobody opens sessions to the coordinator on behalf of others.
CREATE FUNCTION citus_internal.local_owners() RETURNS jsonb
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE groupid WHEN 0 THEN '{}'::jsonb END FROM pg_dist_local_group;
END;
COMMENT ON FUNCTION citus_internal.local_owners() IS
    'for citus_internal.gpid_of on this node';

CREATE FUNCTION pg_catalog.citus_backend_gpid() RETURNS bigint
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT citus_internal.gpid_of(citus_internal.local_owners(),
        current_setting('application_name'), citus_internal.local_nodeid(), pg_backend_pid());
END;
COMMENT ON FUNCTION pg_catalog.citus_backend_gpid() IS
    'global process id of this session, or of the session of another node that it works for';

CREATE FUNCTION pg_catalog.pg_cancel_backend(global_pid bigint) RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_cancel_backend' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.pg_cancel_backend(bigint) IS
    'cancels the query of a session on any node, given by its global process id';

CREATE FUNCTION pg_catalog.pg_terminate_backend(global_pid bigint, timeout bigint DEFAULT 0)
    RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_terminate_backend' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.pg_terminate_backend(bigint, bigint) IS
    'ends a session on any node, given by its global process id';

CREATE FUNCTION pg_catalog.citus_stat_activity(
    OUT global_pid bigint, OUT nodeid integer, OUT is_worker_query boolean, OUT datid oid,
    OUT datname name, OUT pid integer, OUT leader_pid integer, OUT usesysid oid,
    OUT usename name, OUT application_name text, OUT client_addr inet, OUT client_hostname text,
    OUT client_port integer, OUT backend_start timestamptz, OUT xact_start timestamptz,
    OUT query_start timestamptz, OUT state_change timestamptz, OUT wait_event_type text,
    OUT wait_event text, OUT state text, OUT backend_xid xid, OUT backend_xmin xid,
    OUT query_id bigint, OUT query text, OUT backend_type text) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT g.gpid, n.nodeid, g.gpid <> citus_calculate_gpid(n.nodeid, coalesce(a.leader_pid, a.pid)),
        a.datid, a.datname, a.pid, a.leader_pid, a.usesysid, a.usename, a.application_name,
        a.client_addr, a.client_hostname, a.client_port, a.backend_start, a.xact_start,
        a.query_start, a.state_change, a.wait_event_type, a.wait_event, a.state, a.backend_xid,
        a.backend_xmin, a.query_id, a.query, a.backend_type
    FROM citus_internal.query_nodes('SELECT * FROM pg_catalog.pg_stat_activity') n,
        jsonb_to_recordset(n.result) AS a(
            datid oid, datname name, pid integer, leader_pid integer, usesysid oid, usename name,
            application_name text, client_addr inet, client_hostname text, client_port integer,
            backend_start timestamptz, xact_start timestamptz, query_start timestamptz,
            state_change timestamptz, wait_event_type text, wait_event text, state text,
            backend_xid xid, backend_xmin xid, query_id bigint, query text, backend_type text)
    CROSS JOIN LATERAL (
        SELECT citus_internal.gpid_of(
            CASE WHEN a.datname = current_database() THEN n.owners END,
            a.application_name, n.nodeid, coalesce(a.leader_pid, a.pid))) g(gpid);
END;
COMMENT ON FUNCTION pg_catalog.citus_stat_activity() IS 'pg_stat_activity of all nodes';

CREATE FUNCTION pg_catalog.citus_locks(
    OUT global_pid bigint, OUT nodeid integer, OUT locktype text, OUT database oid,
    OUT relation oid, OUT relation_name text, OUT page integer, OUT tuple smallint,
    OUT virtualxid text, OUT transactionid xid, OUT classid oid, OUT objid oid,
    OUT objsubid smallint, OUT virtualtransaction text, OUT pid integer, OUT mode text,
    OUT granted boolean, OUT fastpath boolean, OUT waitstart timestamptz) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT citus_internal.gpid_of(n.owners, l.application_name, n.nodeid, l.pid), n.nodeid, l.locktype,
        l.database, l.relation, l.relation_name, l.page, l.tuple, l.virtualxid, l.transactionid,
        l.classid, l.objid, l.objsubid, l.virtualtransaction, l.pid, l.mode, l.granted,
        l.fastpath, l.waitstart
    FROM citus_internal.query_nodes(
            'SELECT l.*, a.application_name, CASE WHEN d.oid IS NOT NULL'
            ' THEN l.relation::pg_catalog.regclass::pg_catalog.text END AS relation_name'
            ' FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid'
            ' LEFT JOIN pg_catalog.pg_database d'
            ' ON d.oid = l.database AND d.datname = pg_catalog.current_database()') n,
        jsonb_to_recordset(n.result) AS l(
            locktype text, database oid, relation oid, page integer, tuple smallint,
            virtualxid text, transactionid xid, classid oid, objid oid, objsubid smallint,
            virtualtransaction text, pid integer, mode text, granted boolean, fastpath boolean,
            waitstart timestamptz, application_name text, relation_name text);
END;
COMMENT ON FUNCTION pg_catalog.citus_locks() IS 'pg_locks of all nodes';

-- The id at the end of a shard's name.
CREATE FUNCTION citus_internal.shard_id_of_name(relname name) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT substring(relname from '_([1-9][0-9]{0,17})$')::bigint;
END;
COMMENT ON FUNCTION citus_internal.shard_id_of_name(name) IS
    'the shard id at the end of a name, null when there is none';

CREATE FUNCTION pg_catalog.relation_is_a_known_shard(regclass) RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_relation_is_shard' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.relation_is_a_known_shard(regclass) IS
    'whether a table holds a shard of a table in the metadata of this node';

-- Clients' queries on pg_class ask this of each row. It depends on settings of the session, which
-- parallel workers may see differently.
CREATE FUNCTION citus_internal.shard_is_hidden(relation oid, relname name, relkind "char")
    RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_shard_is_hidden' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION citus_internal.shard_is_hidden(oid, name, "char") IS
    'whether a relation holds a shard, or is an index of one, and this client does not see shards';

-- Nodes other than the coordinator have no metadata. There the name must do.
CREATE FUNCTION citus_internal.holds_shard(relation regclass) RETURNS boolean
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT CASE (SELECT groupid FROM pg_dist_local_group) WHEN 0
        THEN relation_is_a_known_shard(relation)
        ELSE (SELECT coalesce(citus_internal.shard_id_of_name(c.relname) >= 102008, false)
              FROM pg_class c WHERE c.oid = relation)
        END;
END;
COMMENT ON FUNCTION citus_internal.holds_shard(regclass) IS
    'whether a table of this node holds a shard, as far as this node can tell';

CREATE FUNCTION pg_catalog.citus_table_is_visible(oid) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT pg_table_is_visible($1) AND NOT relation_is_a_known_shard($1::regclass);
END;
COMMENT ON FUNCTION pg_catalog.citus_table_is_visible(oid) IS
    'whether a table is in the search path and holds no shard';

CREATE FUNCTION pg_catalog.citus_shards_on_worker(
    OUT schema_name name, OUT shard_name name, OUT table_type text, OUT owner_name name)
    RETURNS SETOF record
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    SET citus.show_shards_for_app_name_prefixes = '*'
BEGIN ATOMIC
    SELECT n.nspname, c.relname,
        CASE c.relkind WHEN 'r' THEN 'table' WHEN 'f' THEN 'foreign table'
            WHEN 'p' THEN 'partitioned table' END,
        pg_get_userbyid(c.relowner)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND citus_internal.holds_shard(c.oid);
END;
COMMENT ON FUNCTION pg_catalog.citus_shards_on_worker() IS 'shards that are stored on this node';

CREATE FUNCTION pg_catalog.citus_shard_indexes_on_worker(
    OUT schema_name name, OUT index_name name, OUT table_type text, OUT owner_name name,
    OUT shard_name name) RETURNS SETOF record
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
    SET citus.show_shards_for_app_name_prefixes = '*'
BEGIN ATOMIC
    SELECT n.nspname, c.relname, 'index', pg_get_userbyid(c.relowner), t.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('i', 'I') AND citus_internal.holds_shard(t.oid);
END;
COMMENT ON FUNCTION pg_catalog.citus_shard_indexes_on_worker() IS
    'indexes of shards that are stored on this node';
