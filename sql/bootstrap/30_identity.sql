-- Who this server is, which nodes there are, and identifiers.

CREATE FUNCTION pg_catalog.citus_version() RETURNS text
    AS 'MODULE_PATHNAME', 'citus_version' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION pg_catalog.citus_version() IS
    'version of Citus whose interface this is, of this extension, and of PostgreSQL';

CREATE FUNCTION pg_catalog.citus_server_id() RETURNS uuid
    AS 'MODULE_PATHNAME', 'citus_server_id' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_server_id() IS
    'identity of this database, given when the extension was created';

CREATE FUNCTION citus_internal.local_nodeid() RETURNS integer
    AS 'MODULE_PATHNAME', 'citus_local_nodeid' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION citus_internal.local_nodeid() IS
    'id of this node, 0 while it is not in pg_dist_node';

-- Secrets by which the coordinator proves to nodes that a call comes from it (docs/security.md): on
-- a worker its own, on the coordinator those of all groups. Not even who may read all tables
-- (pg_read_all_data) reads them: row security without a policy. No statistics hold a value, and
-- pg_dump leaves tables of extensions out.

CREATE TABLE citus_internal.node_secrets (
    groupid integer NOT NULL CONSTRAINT node_secrets_pkey PRIMARY KEY,
    secret text NOT NULL
);
ALTER TABLE citus_internal.node_secrets ALTER COLUMN secret SET STATISTICS 0;
ALTER TABLE citus_internal.node_secrets ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON citus_internal.node_secrets FROM PUBLIC;
COMMENT ON TABLE citus_internal.node_secrets IS
    'secrets that the coordinator shares with each node group, for superusers only';

CREATE FUNCTION citus_internal.make_secret(groupid integer) RETURNS text
    AS 'MODULE_PATHNAME', 'citus_make_secret' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.make_secret(integer) IS
    'makes a new secret for this server as node of a group, for the coordinator';
REVOKE ALL ON FUNCTION citus_internal.make_secret(integer) FROM PUBLIC;

CREATE FUNCTION citus_internal.forget_secret() RETURNS void
    AS 'MODULE_PATHNAME', 'citus_forget_secret' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.forget_secret() IS
    'forgets the secret of this server when it leaves its cluster, for the coordinator';
REVOKE ALL ON FUNCTION citus_internal.forget_secret() FROM PUBLIC;

CREATE FUNCTION pg_catalog.citus_internal_ask_proof() RETURNS text
    AS 'MODULE_PATHNAME', 'citus_ask_proof' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_internal_ask_proof() IS
    'a text to be used once, by which a call through a connection pooler proves where it comes from';

CREATE FUNCTION pg_catalog.citus_internal_introduce(proof text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_introduce' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_internal_introduce(text) IS
    'proves that this connection comes from a node, so that it does not count as a client''s';

CREATE FUNCTION pg_catalog.citus_is_coordinator() RETURNS boolean
    LANGUAGE sql STRICT
    AS $$ SELECT groupid OPERATOR(pg_catalog.=) 0 FROM pg_catalog.pg_dist_local_group $$;
COMMENT ON FUNCTION pg_catalog.citus_is_coordinator() IS 'whether this node is the coordinator';

CREATE FUNCTION pg_catalog.citus_is_primary_node() RETURNS boolean
    LANGUAGE sql STRICT
    AS $$ SELECT NOT pg_catalog.pg_is_in_recovery() $$;
COMMENT ON FUNCTION pg_catalog.citus_is_primary_node() IS
    'whether this node is the primary of its group, not a replica';

CREATE FUNCTION pg_catalog.get_nodeid_for_groupid(groupidinput integer) RETURNS integer
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nodeid FROM pg_dist_node WHERE groupid = groupidinput AND noderole = 'primary' $$;
COMMENT ON FUNCTION pg_catalog.get_nodeid_for_groupid(integer) IS
    'id of the primary of a node group';

CREATE FUNCTION pg_catalog.citus_coordinator_nodeid() RETURNS integer
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(get_nodeid_for_groupid(0), -1) $$;
COMMENT ON FUNCTION pg_catalog.citus_coordinator_nodeid() IS
    'id of the coordinator, -1 when it is not in pg_dist_node';

CREATE FUNCTION pg_catalog.citus_nodename_for_nodeid(nodeid integer) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT n.nodename FROM pg_dist_node n WHERE n.nodeid = $1 $$;
COMMENT ON FUNCTION pg_catalog.citus_nodename_for_nodeid(integer) IS 'host name of a node';

CREATE FUNCTION pg_catalog.citus_nodeport_for_nodeid(nodeid integer) RETURNS integer
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT n.nodeport FROM pg_dist_node n WHERE n.nodeid = $1 $$;
COMMENT ON FUNCTION pg_catalog.citus_nodeport_for_nodeid(integer) IS 'port of a node';

-- A global process id is the node's id times ten to the tenth, plus the process id.

CREATE FUNCTION pg_catalog.citus_calculate_gpid(nodeid integer, pid integer) RETURNS bigint
    LANGUAGE sql STRICT
    AS $$ SELECT nodeid::bigint OPERATOR(pg_catalog.*) 10000000000 OPERATOR(pg_catalog.+) pid $$;
COMMENT ON FUNCTION pg_catalog.citus_calculate_gpid(integer, integer) IS
    'global process id of a process on a node';

CREATE FUNCTION pg_catalog.citus_nodeid_for_gpid(global_pid bigint) RETURNS integer
    LANGUAGE sql STABLE STRICT
    AS $$ SELECT (global_pid OPERATOR(pg_catalog./) 10000000000)::integer $$;
COMMENT ON FUNCTION pg_catalog.citus_nodeid_for_gpid(bigint) IS
    'id of the node of a global process id';

CREATE FUNCTION pg_catalog.citus_pid_for_gpid(global_pid bigint) RETURNS integer
    LANGUAGE sql STABLE STRICT
    AS $$ SELECT (global_pid OPERATOR(pg_catalog.%) 10000000000)::integer $$;
COMMENT ON FUNCTION pg_catalog.citus_pid_for_gpid(bigint) IS
    'process id on its node of a global process id';

CREATE FUNCTION pg_catalog.role_exists(name) RETURNS boolean
    LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) $$;
COMMENT ON FUNCTION pg_catalog.role_exists(name) IS 'whether there is a role of this name';

-- Connection parameters -------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.authinfo_valid(text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_authinfo_valid' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.authinfo_valid(text) IS
    'whether the text can stand in pg_dist_authinfo: password, passfile, sslcert and sslkey';

CREATE FUNCTION pg_catalog.poolinfo_valid(text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'citus_poolinfo_valid' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.poolinfo_valid(text) IS
    'whether the text can stand in pg_dist_poolinfo: host, port and dbname';

ALTER TABLE pg_catalog.pg_dist_authinfo
    ADD CONSTRAINT authinfo_valid CHECK (pg_catalog.authinfo_valid(authinfo));
ALTER TABLE pg_catalog.pg_dist_poolinfo
    ADD CONSTRAINT poolinfo_valid CHECK (pg_catalog.poolinfo_valid(poolinfo));

-- New identifiers -------------------------------------------------------------------------------

CREATE FUNCTION pg_catalog.master_get_new_shardid() RETURNS bigint
    LANGUAGE sql STRICT
    AS $$ SELECT pg_catalog.nextval('pg_catalog.pg_dist_shardid_seq') $$;
COMMENT ON FUNCTION pg_catalog.master_get_new_shardid() IS 'takes a new shard identifier';

CREATE FUNCTION pg_catalog.master_get_new_placementid() RETURNS bigint
    LANGUAGE sql STRICT
    AS $$ SELECT pg_catalog.nextval('pg_catalog.pg_dist_placement_placementid_seq') $$;
COMMENT ON FUNCTION pg_catalog.master_get_new_placementid() IS 'takes a new placement identifier';
