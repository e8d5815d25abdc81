-- Transactions and waits of all nodes. The session of a client gives its transaction a number; the
-- sessions that work for it on other nodes do not know it, and the functions that look at all
-- nodes fill it in.

CREATE FUNCTION pg_catalog.get_all_active_transactions(
    OUT datid oid, OUT process_id integer, OUT initiator_node_identifier integer,
    OUT worker_query boolean, OUT transaction_number bigint, OUT transaction_stamp timestamptz,
    OUT global_pid bigint) RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT a.datid, a.pid, (g.gpid / 10000000000)::integer, g.internal,
        CASE WHEN g.internal OR v.virtualxid IS NULL THEN 0
            ELSE (split_part(v.virtualxid, '/', 1)::bigint << 32)
                + split_part(v.virtualxid, '/', 2)::bigint END,
        coalesce(a.xact_start, '2000-01-01 00:00:00+00'),
        g.gpid
    FROM pg_stat_activity a
    LEFT JOIN pg_locks v ON v.pid = a.pid AND v.locktype = 'virtualxid' AND v.granted
        AND v.virtualxid = v.virtualtransaction
    CROSS JOIN LATERAL (
        SELECT coalesce(a.application_name ~ '^citus_[a-z_]+ gpid=[0-9]{1,18}$', false),
            citus_internal.gpid_of(
                a.application_name, citus_internal.local_nodeid(), coalesce(a.leader_pid, a.pid)))
        g(internal, gpid)
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
        SELECT t.*
        FROM citus_internal.query_nodes(
                'SELECT * FROM pg_catalog.get_all_active_transactions()') n,
            jsonb_to_recordset(n.result) AS t(
                datid oid, process_id integer, initiator_node_identifier integer,
                worker_query boolean, transaction_number bigint, transaction_stamp timestamptz,
                global_pid bigint)),
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
    -- pg_blocking_pids stops the lock manager for a moment: only for those who wait. Other
    -- databases are other clusters, with nodes of the same numbers.
    WITH t AS MATERIALIZED (
        SELECT s.*, EXISTS (
            SELECT FROM pg_locks l WHERE l.pid = s.process_id AND NOT l.granted) AS waiting
        FROM get_all_active_transactions() s
        WHERE s.datid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    SELECT w.global_pid, w.process_id, w.initiator_node_identifier, w.transaction_number,
        w.transaction_stamp, b.global_pid, b.process_id, b.initiator_node_identifier,
        b.transaction_number, b.transaction_stamp, b.waiting
    FROM (SELECT * FROM t WHERE t.waiting) w
    CROSS JOIN LATERAL (SELECT DISTINCT p FROM unnest(pg_blocking_pids(w.process_id)) p) p
    JOIN t b ON b.process_id = p.p;
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
    SELECT e.waiting_global_pid, e.waiting_pid, e.waiting_node_id,
        coalesce(nullif(e.waiting_transaction_num, 0), w.number, 0),
        coalesce(w.stamp, e.waiting_transaction_stamp),
        e.blocking_global_pid, e.blocking_pid, e.blocking_node_id,
        coalesce(nullif(e.blocking_transaction_num, 0), b.number, 0),
        coalesce(b.stamp, e.blocking_transaction_stamp),
        e.blocking_transaction_waiting
    FROM citus_internal.query_nodes(
            'SELECT * FROM pg_catalog.citus_internal_local_blocked_processes()') n,
        jsonb_to_recordset(n.result) AS e(
            waiting_global_pid bigint, waiting_pid integer, waiting_node_id integer,
            waiting_transaction_num bigint, waiting_transaction_stamp timestamptz,
            blocking_global_pid bigint, blocking_pid integer, blocking_node_id integer,
            blocking_transaction_num bigint, blocking_transaction_stamp timestamptz,
            blocking_transaction_waiting boolean)
    LEFT JOIN known w ON w.global_pid = e.waiting_global_pid
    LEFT JOIN known b ON b.global_pid = e.blocking_global_pid;
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
