-- Transactions and waits of all nodes. The session of a client gives its transaction a number; the
-- sessions that work for it on other nodes do not know it, and the functions that look at all
-- nodes fill it in.

CREATE FUNCTION pg_catalog.assign_distributed_transaction_id(
    initiator_node_identifier integer, transaction_number bigint, transaction_stamp timestamptz)
    RETURNS void
    AS 'MODULE_PATHNAME', 'citus_assign_transaction' LANGUAGE C STRICT;
COMMENT ON FUNCTION
    pg_catalog.assign_distributed_transaction_id(integer, bigint, timestamptz) IS
    'gives the running transaction of this session the number under which it is shown';

CREATE FUNCTION citus_internal.assigned_transactions(
    OUT pid integer, OUT nodeid integer, OUT transaction_number bigint,
    OUT transaction_stamp timestamptz) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_assigned_transactions' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.assigned_transactions() IS
    'running transactions of this database with assign_distributed_transaction_id';

CREATE FUNCTION citus_internal.local_lock_waits(
    OUT waiting_pid integer, OUT waiting_since bigint, OUT blocking_pid integer,
    OUT blocking_gid text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_local_lock_waits' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.local_lock_waits() IS
    'which sessions of this database on this node wait for locks of which, or of prepared transactions';

CREATE FUNCTION pg_catalog.check_distributed_deadlocks() RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_check_distributed_deadlocks' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.check_distributed_deadlocks() IS
    'cancels the youngest transaction of each distributed deadlock; whether there was one';
REVOKE ALL ON FUNCTION pg_catalog.check_distributed_deadlocks() FROM PUBLIC;

CREATE FUNCTION pg_catalog.get_all_active_transactions(
    OUT datid oid, OUT process_id integer, OUT initiator_node_identifier integer,
    OUT worker_query boolean, OUT transaction_number bigint, OUT transaction_stamp timestamptz,
    OUT global_pid bigint) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT a.datid, a.pid, coalesce(d.nodeid, (g.gpid / 10000000000)::integer), g.internal,
        CASE WHEN d.pid IS NOT NULL THEN d.transaction_number
            WHEN g.internal OR v.virtualxid IS NULL THEN 0
            ELSE (split_part(v.virtualxid, '/', 1)::bigint << 32)
                + split_part(v.virtualxid, '/', 2)::bigint END,
        coalesce(d.transaction_stamp, a.xact_start, '2000-01-01 00:00:00+00'),
        g.gpid
    FROM pg_stat_activity a
    LEFT JOIN pg_locks v ON v.pid = a.pid AND v.locktype = 'virtualxid' AND v.granted
        AND v.virtualxid = v.virtualtransaction
    LEFT JOIN citus_internal.assigned_transactions() d ON d.pid = a.pid
    CROSS JOIN (SELECT citus_internal.local_nodeid(), citus_internal.local_owners())
        here(nodeid, owners)
    CROSS JOIN LATERAL (
        SELECT x.gpid, x.gpid <> citus_calculate_gpid(here.nodeid, coalesce(a.leader_pid, a.pid))
        FROM (SELECT citus_internal.gpid_of(here.owners, a.application_name, here.nodeid,
            coalesce(a.leader_pid, a.pid))) x(gpid)) g(gpid, internal)
    -- What kind of backend another user's is, is not for everybody to see.
    WHERE a.datid IS NOT NULL
        AND coalesce(a.backend_type, 'client backend') IN ('client backend', 'parallel worker');
END;
COMMENT ON FUNCTION pg_catalog.get_all_active_transactions() IS
    'sessions of this node and their transactions';

CREATE FUNCTION pg_catalog.get_global_active_transactions(
    OUT datid oid, OUT process_id integer, OUT initiator_node_identifier integer,
    OUT worker_query boolean, OUT transaction_number bigint, OUT transaction_stamp timestamptz,
    OUT global_pid bigint) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    WITH t AS MATERIALIZED (
        SELECT t.datid, t.process_id, citus_nodeid_for_gpid(g.gpid) AS initiator_node_identifier,
            g.internal AS worker_query, t.transaction_number, t.transaction_stamp,
            g.gpid AS global_pid
        FROM citus_internal.query_nodes(
                'SELECT t.*, coalesce(a.leader_pid, t.process_id) AS leader,'
                ' a.datname = pg_catalog.current_database() AS ours'
                ' FROM pg_catalog.get_all_active_transactions() t'
                ' LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = t.process_id') n
        CROSS JOIN LATERAL jsonb_to_recordset(n.result) AS t(
                datid oid, process_id integer, worker_query boolean, transaction_number bigint,
                transaction_stamp timestamptz, global_pid bigint, leader integer, ours boolean)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN n.owners IS NULL OR t.ours IS NOT TRUE THEN t.global_pid
                    ELSE citus_internal.gpid_of(n.owners, NULL, n.nodeid, t.leader) END,
                CASE WHEN n.owners IS NULL OR t.ours IS NOT TRUE THEN t.worker_query
                    ELSE n.owners ? t.leader::text END) g(gpid, internal)),
    known AS (
        SELECT k.global_pid, max(k.transaction_number) AS number, max(k.transaction_stamp) AS stamp
        FROM t k WHERE NOT k.worker_query AND k.transaction_number <> 0 GROUP BY k.global_pid)
    SELECT t.datid, t.process_id, t.initiator_node_identifier, t.worker_query,
        CASE WHEN t.worker_query THEN coalesce(k.number, 0) ELSE t.transaction_number END,
        CASE WHEN t.worker_query THEN coalesce(k.stamp, t.transaction_stamp)
            ELSE t.transaction_stamp END,
        t.global_pid
    FROM t LEFT JOIN known k ON k.global_pid = t.global_pid;
END;
COMMENT ON FUNCTION pg_catalog.get_global_active_transactions() IS
    'sessions of all nodes and their transactions';

CREATE FUNCTION pg_catalog.get_current_transaction_id(
    OUT database_id oid, OUT process_id integer, OUT initiator_node_identifier integer,
    OUT transaction_number bigint, OUT transaction_stamp timestamptz) RETURNS record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT t.datid, t.process_id, t.initiator_node_identifier, t.transaction_number,
        t.transaction_stamp
    FROM get_all_active_transactions() t
    WHERE t.process_id = pg_backend_pid();
END;
COMMENT ON FUNCTION pg_catalog.get_current_transaction_id() IS 'the transaction of this session';

-- Waits -----------------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.citus_internal_local_blocked_processes(
    OUT waiting_global_pid bigint, OUT waiting_pid integer, OUT waiting_node_id integer,
    OUT waiting_transaction_num bigint, OUT waiting_transaction_stamp timestamptz,
    OUT blocking_global_pid bigint, OUT blocking_pid integer, OUT blocking_node_id integer,
    OUT blocking_transaction_num bigint, OUT blocking_transaction_stamp timestamptz,
    OUT blocking_transaction_waiting boolean) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    WITH e AS MATERIALIZED (
        SELECT DISTINCT w.waiting_pid, w.blocking_pid FROM citus_internal.local_lock_waits() w
        WHERE w.blocking_pid <> 0),
    t AS MATERIALIZED (
        SELECT s.* FROM get_all_active_transactions() s WHERE EXISTS (SELECT FROM e))
    SELECT coalesce(w.global_pid, citus_calculate_gpid(here.nodeid, e.waiting_pid)),
        e.waiting_pid, coalesce(w.initiator_node_identifier, here.nodeid),
        coalesce(w.transaction_number, 0),
        coalesce(w.transaction_stamp, '2000-01-01 00:00:00+00'),
        coalesce(b.global_pid, citus_calculate_gpid(here.nodeid, e.blocking_pid)),
        e.blocking_pid, coalesce(b.initiator_node_identifier, here.nodeid),
        coalesce(b.transaction_number, 0),
        coalesce(b.transaction_stamp, '2000-01-01 00:00:00+00'),
        EXISTS (SELECT FROM e f WHERE f.waiting_pid = e.blocking_pid)
    FROM e
    CROSS JOIN (SELECT citus_internal.local_nodeid()) here(nodeid)
    LEFT JOIN t w ON w.process_id = e.waiting_pid
    LEFT JOIN t b ON b.process_id = e.blocking_pid;
END;
COMMENT ON FUNCTION pg_catalog.citus_internal_local_blocked_processes() IS 'who waits for whom on this node';

CREATE FUNCTION pg_catalog.citus_internal_global_blocked_processes(
    OUT waiting_global_pid bigint, OUT waiting_pid integer, OUT waiting_node_id integer,
    OUT waiting_transaction_num bigint, OUT waiting_transaction_stamp timestamptz,
    OUT blocking_global_pid bigint, OUT blocking_pid integer, OUT blocking_node_id integer,
    OUT blocking_transaction_num bigint, OUT blocking_transaction_stamp timestamptz,
    OUT blocking_transaction_waiting boolean) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    WITH known AS MATERIALIZED (
        SELECT k.global_pid, max(k.transaction_number) AS number, max(k.transaction_stamp) AS stamp
        FROM get_all_active_transactions() k
        WHERE NOT k.worker_query AND k.transaction_number <> 0 GROUP BY k.global_pid)
    SELECT g.waiting, e.waiting_pid, citus_nodeid_for_gpid(g.waiting),
        coalesce(nullif(e.waiting_transaction_num, 0), w.number, 0),
        coalesce(w.stamp, e.waiting_transaction_stamp),
        g.blocking, e.blocking_pid, citus_nodeid_for_gpid(g.blocking),
        coalesce(nullif(e.blocking_transaction_num, 0), b.number, 0),
        coalesce(b.stamp, e.blocking_transaction_stamp),
        e.blocking_transaction_waiting
    FROM citus_internal.query_nodes(
            'SELECT * FROM pg_catalog.citus_internal_local_blocked_processes()') n
    CROSS JOIN LATERAL jsonb_to_recordset(n.result) AS e(
            waiting_global_pid bigint, waiting_pid integer, waiting_node_id integer,
            waiting_transaction_num bigint, waiting_transaction_stamp timestamptz,
            blocking_global_pid bigint, blocking_pid integer, blocking_node_id integer,
            blocking_transaction_num bigint, blocking_transaction_stamp timestamptz,
            blocking_transaction_waiting boolean)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN n.owners IS NULL THEN e.waiting_global_pid
                ELSE citus_internal.gpid_of(n.owners, NULL, n.nodeid, e.waiting_pid) END,
            CASE WHEN n.owners IS NULL THEN e.blocking_global_pid
                ELSE citus_internal.gpid_of(n.owners, NULL, n.nodeid, e.blocking_pid) END)
        g(waiting, blocking)
    LEFT JOIN known w ON w.global_pid = g.waiting
    LEFT JOIN known b ON b.global_pid = g.blocking;
END;
COMMENT ON FUNCTION pg_catalog.citus_internal_global_blocked_processes() IS 'who waits for whom on all nodes';

CREATE FUNCTION pg_catalog.dump_local_wait_edges(
    OUT waiting_pid integer, OUT waiting_node_id integer, OUT waiting_transaction_num bigint,
    OUT waiting_transaction_stamp timestamptz, OUT blocking_pid integer,
    OUT blocking_node_id integer, OUT blocking_transaction_num bigint,
    OUT blocking_transaction_stamp timestamptz, OUT blocking_transaction_waiting boolean)
    RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT e.waiting_pid, e.waiting_node_id, e.waiting_transaction_num,
        e.waiting_transaction_stamp, e.blocking_pid, e.blocking_node_id,
        e.blocking_transaction_num, e.blocking_transaction_stamp, e.blocking_transaction_waiting
    FROM pg_catalog.citus_internal_local_blocked_processes() e;
END;
COMMENT ON FUNCTION pg_catalog.dump_local_wait_edges() IS 'who waits for whom on this node';

CREATE FUNCTION pg_catalog.dump_global_wait_edges(
    OUT waiting_pid integer, OUT waiting_node_id integer, OUT waiting_transaction_num bigint,
    OUT waiting_transaction_stamp timestamptz, OUT blocking_pid integer,
    OUT blocking_node_id integer, OUT blocking_transaction_num bigint,
    OUT blocking_transaction_stamp timestamptz, OUT blocking_transaction_waiting boolean)
    RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT e.waiting_pid, e.waiting_node_id, e.waiting_transaction_num,
        e.waiting_transaction_stamp, e.blocking_pid, e.blocking_node_id,
        e.blocking_transaction_num, e.blocking_transaction_stamp, e.blocking_transaction_waiting
    FROM pg_catalog.citus_internal_global_blocked_processes() e;
END;
COMMENT ON FUNCTION pg_catalog.dump_global_wait_edges() IS 'who waits for whom on all nodes';

CREATE FUNCTION pg_catalog.citus_blocking_pids(pblockedpid integer) RETURNS integer[]
    LANGUAGE sql
BEGIN ATOMIC
    SELECT coalesce(array_agg(DISTINCT x.pid), '{}') FROM (
        SELECT unnest(pg_blocking_pids(pblockedpid))
        UNION
        -- Who blocks it on other nodes, and has its own session here.
        SELECT (e.blocking_global_pid % 10000000000)::integer
        FROM pg_catalog.citus_internal_global_blocked_processes() e
        WHERE e.waiting_global_pid
                = citus_internal.local_nodeid() * 10000000000 + pblockedpid
            AND e.blocking_global_pid / 10000000000 = citus_internal.local_nodeid()) x(pid);
END;
COMMENT ON FUNCTION pg_catalog.citus_blocking_pids(integer) IS
    'sessions of this node that block another one, on whichever node';
REVOKE ALL ON FUNCTION pg_catalog.citus_blocking_pids(integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_isolation_test_session_is_blocked(
    pblockedpid integer, pinterestingpids integer[]) RETURNS boolean
    LANGUAGE sql
BEGIN ATOMIC
    SELECT citus_blocking_pids(pblockedpid) && pinterestingpids;
END;
COMMENT ON FUNCTION
    pg_catalog.citus_isolation_test_session_is_blocked(integer, integer[]) IS
    'whether one of some sessions of this node blocks another one, on whichever node';
REVOKE ALL ON FUNCTION pg_catalog.citus_isolation_test_session_is_blocked(integer, integer[])
    FROM PUBLIC;

-- Connections -----------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.citus_remote_connection_stats(
    OUT hostname text, OUT port integer, OUT database_name text,
    OUT connection_count_to_node integer) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT n.nodename, n.nodeport, a.datname, count(*)::integer
    FROM citus_internal.query_nodes(
            'SELECT t.global_pid, a.datname FROM pg_catalog.get_all_active_transactions() t'
            ' JOIN pg_catalog.pg_stat_activity a ON a.pid = t.process_id'
            ' WHERE t.worker_query') n,
        jsonb_to_recordset(n.result) AS a(global_pid bigint, datname text)
    WHERE n.nodeid <> citus_internal.local_nodeid()
        AND a.global_pid / 10000000000 = citus_internal.local_nodeid()
    GROUP BY 1, 2, 3;
END;
COMMENT ON FUNCTION pg_catalog.citus_remote_connection_stats() IS
    'connections that the sessions of this node have to other nodes';
REVOKE ALL ON FUNCTION pg_catalog.citus_remote_connection_stats() FROM PUBLIC;
