-- Nodes of the cluster.

CREATE FUNCTION pg_catalog.citus_add_node(
    nodename text,
    nodeport integer,
    groupid integer DEFAULT '-1'::integer,
    noderole pg_catalog.noderole DEFAULT 'primary'::pg_catalog.noderole,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_node';
COMMENT ON FUNCTION pg_catalog.citus_add_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) IS 'add a node to the cluster';
REVOKE ALL ON FUNCTION pg_catalog.citus_add_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_add_inactive_node(
    nodename text,
    nodeport integer,
    groupid integer DEFAULT '-1'::integer,
    noderole pg_catalog.noderole DEFAULT 'primary'::pg_catalog.noderole,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_inactive_node';
COMMENT ON FUNCTION pg_catalog.citus_add_inactive_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) IS 'add a node to the cluster without using it yet';
REVOKE ALL ON FUNCTION pg_catalog.citus_add_inactive_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_add_secondary_node(
    nodename text,
    nodeport integer,
    primaryname text,
    primaryport integer,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_secondary_node';
COMMENT ON FUNCTION pg_catalog.citus_add_secondary_node(nodename text, nodeport integer, primaryname text, primaryport integer, nodecluster name) IS 'add a standby of a node to the cluster';
REVOKE ALL ON FUNCTION pg_catalog.citus_add_secondary_node(nodename text, nodeport integer, primaryname text, primaryport integer, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_activate_node(nodename text, nodeport integer)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_activate_node';
COMMENT ON FUNCTION pg_catalog.citus_activate_node(nodename text, nodeport integer) IS 'start to use a node';
REVOKE ALL ON FUNCTION pg_catalog.citus_activate_node(nodename text, nodeport integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_disable_node(
    nodename text,
    nodeport integer,
    synchronous boolean DEFAULT false)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_disable_node';
COMMENT ON FUNCTION pg_catalog.citus_disable_node(nodename text, nodeport integer, synchronous boolean) IS 'stop using a node for a while';
REVOKE ALL ON FUNCTION pg_catalog.citus_disable_node(nodename text, nodeport integer, synchronous boolean) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_remove_node(nodename text, nodeport integer)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_remove_node';
COMMENT ON FUNCTION pg_catalog.citus_remove_node(nodename text, nodeport integer) IS 'remove a node from the cluster';
REVOKE ALL ON FUNCTION pg_catalog.citus_remove_node(nodename text, nodeport integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_update_node(
    node_id integer,
    new_node_name text,
    new_node_port integer,
    force boolean DEFAULT false,
    lock_cooldown integer DEFAULT 10000)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_update_node';
COMMENT ON FUNCTION pg_catalog.citus_update_node(node_id integer, new_node_name text, new_node_port integer, force boolean, lock_cooldown integer) IS 'change the address of a node';
REVOKE ALL ON FUNCTION pg_catalog.citus_update_node(node_id integer, new_node_name text, new_node_port integer, force boolean, lock_cooldown integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_set_node_property(
    nodename text,
    nodeport integer,
    property text,
    value boolean)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_set_node_property';
COMMENT ON FUNCTION pg_catalog.citus_set_node_property(nodename text, nodeport integer, property text, value boolean) IS 'set a property of a node';
REVOKE ALL ON FUNCTION pg_catalog.citus_set_node_property(nodename text, nodeport integer, property text, value boolean) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_set_coordinator_host(
    host text,
    port integer DEFAULT (current_setting('port'::text))::integer,
    node_role pg_catalog.noderole DEFAULT 'primary'::pg_catalog.noderole,
    node_cluster name DEFAULT 'default'::name)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_set_coordinator_host';
COMMENT ON FUNCTION pg_catalog.citus_set_coordinator_host(host text, port integer, node_role pg_catalog.noderole, node_cluster name) IS 'set the address of the coordinator';
REVOKE ALL ON FUNCTION pg_catalog.citus_set_coordinator_host(host text, port integer, node_role pg_catalog.noderole, node_cluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_get_active_worker_nodes(OUT node_name text, OUT node_port bigint)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_get_active_worker_nodes';
COMMENT ON FUNCTION pg_catalog.citus_get_active_worker_nodes() IS 'list the active workers';

CREATE FUNCTION pg_catalog.citus_check_connection_to_node(nodename text, nodeport integer DEFAULT 5432)
    RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_check_connection_to_node';
COMMENT ON FUNCTION pg_catalog.citus_check_connection_to_node(nodename text, nodeport integer) IS 'check whether this node can connect to another';

CREATE FUNCTION pg_catalog.citus_check_cluster_node_health(
    OUT from_nodename text,
    OUT from_nodeport integer,
    OUT to_nodename text,
    OUT to_nodeport integer,
    OUT result boolean)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_check_cluster_node_health';
COMMENT ON FUNCTION pg_catalog.citus_check_cluster_node_health() IS 'check the connections between all nodes';

-- Former names.

CREATE FUNCTION pg_catalog.master_add_node(
    nodename text,
    nodeport integer,
    groupid integer DEFAULT '-1'::integer,
    noderole pg_catalog.noderole DEFAULT 'primary'::pg_catalog.noderole,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_node';
COMMENT ON FUNCTION pg_catalog.master_add_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) IS 'former name of citus_add_node';
REVOKE ALL ON FUNCTION pg_catalog.master_add_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_add_inactive_node(
    nodename text,
    nodeport integer,
    groupid integer DEFAULT '-1'::integer,
    noderole pg_catalog.noderole DEFAULT 'primary'::pg_catalog.noderole,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_inactive_node';
COMMENT ON FUNCTION pg_catalog.master_add_inactive_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) IS 'former name of citus_add_inactive_node';
REVOKE ALL ON FUNCTION pg_catalog.master_add_inactive_node(nodename text, nodeport integer, groupid integer, noderole pg_catalog.noderole, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_add_secondary_node(
    nodename text,
    nodeport integer,
    primaryname text,
    primaryport integer,
    nodecluster name DEFAULT 'default'::name)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_add_secondary_node';
COMMENT ON FUNCTION pg_catalog.master_add_secondary_node(nodename text, nodeport integer, primaryname text, primaryport integer, nodecluster name) IS 'former name of citus_add_secondary_node';
REVOKE ALL ON FUNCTION pg_catalog.master_add_secondary_node(nodename text, nodeport integer, primaryname text, primaryport integer, nodecluster name) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_activate_node(nodename text, nodeport integer)
    RETURNS integer
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_activate_node';
COMMENT ON FUNCTION pg_catalog.master_activate_node(nodename text, nodeport integer) IS 'former name of citus_activate_node';
REVOKE ALL ON FUNCTION pg_catalog.master_activate_node(nodename text, nodeport integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_disable_node(nodename text, nodeport integer)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_disable_node';
COMMENT ON FUNCTION pg_catalog.master_disable_node(nodename text, nodeport integer) IS 'former name of citus_disable_node';
REVOKE ALL ON FUNCTION pg_catalog.master_disable_node(nodename text, nodeport integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_remove_node(nodename text, nodeport integer)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_remove_node';
COMMENT ON FUNCTION pg_catalog.master_remove_node(nodename text, nodeport integer) IS 'former name of citus_remove_node';
REVOKE ALL ON FUNCTION pg_catalog.master_remove_node(nodename text, nodeport integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_update_node(
    node_id integer,
    new_node_name text,
    new_node_port integer,
    force boolean DEFAULT false,
    lock_cooldown integer DEFAULT 10000)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_update_node';
COMMENT ON FUNCTION pg_catalog.master_update_node(node_id integer, new_node_name text, new_node_port integer, force boolean, lock_cooldown integer) IS 'former name of citus_update_node';
REVOKE ALL ON FUNCTION pg_catalog.master_update_node(node_id integer, new_node_name text, new_node_port integer, force boolean, lock_cooldown integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_set_node_property(
    nodename text,
    nodeport integer,
    property text,
    value boolean)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_set_node_property';
COMMENT ON FUNCTION pg_catalog.master_set_node_property(nodename text, nodeport integer, property text, value boolean) IS 'former name of citus_set_node_property';
REVOKE ALL ON FUNCTION pg_catalog.master_set_node_property(nodename text, nodeport integer, property text, value boolean) FROM PUBLIC;

CREATE FUNCTION pg_catalog.master_get_active_worker_nodes(OUT node_name text, OUT node_port bigint)
    RETURNS SETOF record
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_get_active_worker_nodes';
COMMENT ON FUNCTION pg_catalog.master_get_active_worker_nodes() IS 'former name of citus_get_active_worker_nodes';

CREATE FUNCTION pg_catalog.citus_pause_node_within_txn(
    node_id integer,
    force boolean DEFAULT false,
    lock_cooldown integer DEFAULT 10000)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_pause_node_within_txn';
COMMENT ON FUNCTION pg_catalog.citus_pause_node_within_txn(node_id integer, force boolean, lock_cooldown integer) IS 'keep writers away from a node until the end of the transaction';
REVOKE ALL ON FUNCTION pg_catalog.citus_pause_node_within_txn(node_id integer, force boolean, lock_cooldown integer) FROM PUBLIC;

CREATE FUNCTION pg_catalog.replicate_reference_tables(
    shard_transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_replicate_reference_tables';
COMMENT ON FUNCTION pg_catalog.replicate_reference_tables(shard_transfer_mode citus.shard_transfer_mode) IS 'give every active node the reference tables that it misses';
REVOKE ALL ON FUNCTION pg_catalog.replicate_reference_tables(shard_transfer_mode citus.shard_transfer_mode) FROM PUBLIC;
