-- Catalogs and their sequences. A relation cannot be created in pg_catalog, only moved there, so
-- all of them are born in schema citus. Nothing here is marked for pg_dump: the metadata belongs
-- to this cluster's nodes, a restored database is distributed anew.

CREATE SEQUENCE citus.pg_dist_shardid_seq MINVALUE 102008 NO CYCLE;
CREATE SEQUENCE citus.pg_dist_placement_placementid_seq NO CYCLE;
CREATE SEQUENCE citus.pg_dist_groupid_seq MINVALUE 1 MAXVALUE 4294967296;
CREATE SEQUENCE citus.pg_dist_node_nodeid_seq MINVALUE 1 MAXVALUE 4294967296;
CREATE SEQUENCE citus.pg_dist_colocationid_seq MINVALUE 1 MAXVALUE 4294967296;
CREATE SEQUENCE citus.pg_dist_operationid_seq NO CYCLE;
CREATE SEQUENCE citus.pg_dist_cleanup_recordid_seq NO CYCLE;
-- The logical part of the cluster clock has 22 bits.
CREATE SEQUENCE citus.pg_dist_clock_logical_seq START 1 MINVALUE 1 MAXVALUE 4194303 CYCLE;
CREATE SEQUENCE citus.pg_dist_background_job_job_id_seq NO CYCLE;
CREATE SEQUENCE citus.pg_dist_background_task_task_id_seq NO CYCLE;

ALTER SEQUENCE citus.pg_dist_shardid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_placement_placementid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_groupid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_node_nodeid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_colocationid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_operationid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_cleanup_recordid_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_clock_logical_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_background_job_job_id_seq SET SCHEMA pg_catalog;
ALTER SEQUENCE citus.pg_dist_background_task_task_id_seq SET SCHEMA pg_catalog;

COMMENT ON SEQUENCE pg_catalog.pg_dist_shardid_seq IS 'shard identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_placement_placementid_seq IS 'placement identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_groupid_seq IS 'node group identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_node_nodeid_seq IS 'node identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_colocationid_seq IS 'colocation group identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_operationid_seq IS 'identifiers of operations that may leave something to clean up';
COMMENT ON SEQUENCE pg_catalog.pg_dist_cleanup_recordid_seq IS 'identifiers of cleanup records';
COMMENT ON SEQUENCE pg_catalog.pg_dist_clock_logical_seq IS 'logical part of the cluster clock';
COMMENT ON SEQUENCE pg_catalog.pg_dist_background_job_job_id_seq IS 'background job identifiers';
COMMENT ON SEQUENCE pg_catalog.pg_dist_background_task_task_id_seq IS 'background task identifiers';

-- Tables, shards and their placements -----------------------------------------------------------

CREATE TABLE citus.pg_dist_partition (
    logicalrelid regclass NOT NULL,
    partmethod "char" NOT NULL,
    partkey text,
    colocationid integer NOT NULL DEFAULT 0,
    repmodel "char" NOT NULL DEFAULT 'c',
    autoconverted boolean DEFAULT false
);
ALTER TABLE citus.pg_dist_partition SET SCHEMA pg_catalog;
CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index
    ON pg_catalog.pg_dist_partition (logicalrelid);
CREATE INDEX pg_dist_partition_colocationid_index ON pg_catalog.pg_dist_partition (colocationid);
COMMENT ON TABLE pg_catalog.pg_dist_partition IS 'tables that Citus manages: distributed, reference and local ones';

-- Clients that look up columns by number find shardminvalue at 5: number 4 is a dropped column.
CREATE TABLE citus.pg_dist_shard (
    logicalrelid regclass NOT NULL,
    shardid bigint NOT NULL,
    shardstorage "char" NOT NULL,
    unused text,
    shardminvalue text,
    shardmaxvalue text
);
ALTER TABLE citus.pg_dist_shard DROP COLUMN unused;
ALTER TABLE citus.pg_dist_shard SET SCHEMA pg_catalog;
CREATE UNIQUE INDEX pg_dist_shard_shardid_index ON pg_catalog.pg_dist_shard (shardid);
CREATE INDEX pg_dist_shard_logical_relid_index ON pg_catalog.pg_dist_shard (logicalrelid);
COMMENT ON TABLE pg_catalog.pg_dist_shard IS 'shards of the tables that Citus manages';

CREATE TABLE citus.pg_dist_placement (
    placementid bigint NOT NULL
        DEFAULT nextval('pg_catalog.pg_dist_placement_placementid_seq'::regclass),
    shardid bigint NOT NULL,
    shardstate integer NOT NULL,
    shardlength bigint NOT NULL,
    groupid integer NOT NULL
);
ALTER TABLE citus.pg_dist_placement SET SCHEMA pg_catalog;
CREATE UNIQUE INDEX pg_dist_placement_placementid_index
    ON pg_catalog.pg_dist_placement (placementid);
CREATE UNIQUE INDEX placement_shardid_groupid_unique_index
    ON pg_catalog.pg_dist_placement (shardid, groupid);
CREATE INDEX pg_dist_placement_shardid_index ON pg_catalog.pg_dist_placement (shardid);
CREATE INDEX pg_dist_placement_groupid_index ON pg_catalog.pg_dist_placement (groupid);
COMMENT ON TABLE pg_catalog.pg_dist_placement IS 'node groups on which the shards are stored';

CREATE TABLE citus.pg_dist_colocation (
    colocationid integer NOT NULL CONSTRAINT pg_dist_colocation_pkey PRIMARY KEY,
    shardcount integer NOT NULL,
    replicationfactor integer NOT NULL,
    distributioncolumntype oid NOT NULL,
    distributioncolumncollation oid NOT NULL
);
ALTER TABLE citus.pg_dist_colocation SET SCHEMA pg_catalog;
CREATE INDEX pg_dist_colocation_configuration_index ON pg_catalog.pg_dist_colocation
    (distributioncolumntype, shardcount, replicationfactor, distributioncolumncollation);
COMMENT ON TABLE pg_catalog.pg_dist_colocation IS 'groups of tables whose shards are stored side by side';

CREATE TABLE citus.pg_dist_schema (
    schemaid oid NOT NULL CONSTRAINT pg_dist_schema_pkey PRIMARY KEY,
    colocationid integer NOT NULL
);
ALTER TABLE citus.pg_dist_schema SET SCHEMA pg_catalog;
CREATE UNIQUE INDEX pg_dist_schema_unique_colocationid_index
    ON pg_catalog.pg_dist_schema (colocationid);
COMMENT ON TABLE pg_catalog.pg_dist_schema IS 'distributed schemas';

CREATE TABLE citus.pg_dist_object (
    classid oid NOT NULL,
    objid oid NOT NULL,
    objsubid integer NOT NULL,
    type text,
    object_names text[],
    object_args text[],
    distribution_argument_index integer,
    colocationid integer,
    force_delegation boolean,
    CONSTRAINT pg_dist_object_pkey PRIMARY KEY (classid, objid, objsubid)
);
ALTER TABLE citus.pg_dist_object SET SCHEMA pg_catalog;
COMMENT ON TABLE pg_catalog.pg_dist_object IS 'objects that exist on every node';

-- Nodes -----------------------------------------------------------------------------------------

CREATE TABLE citus.pg_dist_node (
    nodeid integer NOT NULL
        DEFAULT nextval('pg_catalog.pg_dist_node_nodeid_seq'::regclass)
        CONSTRAINT pg_dist_node_pkey PRIMARY KEY,
    groupid integer NOT NULL DEFAULT nextval('pg_catalog.pg_dist_groupid_seq'::regclass),
    nodename text NOT NULL,
    nodeport integer NOT NULL DEFAULT 5432,
    noderack text NOT NULL DEFAULT 'default',
    hasmetadata boolean NOT NULL DEFAULT false,
    isactive boolean NOT NULL DEFAULT true,
    noderole pg_catalog.noderole NOT NULL DEFAULT 'primary',
    nodecluster name NOT NULL DEFAULT 'default',
    metadatasynced boolean DEFAULT false,
    shouldhaveshards boolean NOT NULL DEFAULT true,
    nodeisclone boolean NOT NULL DEFAULT false,
    nodeprimarynodeid integer NOT NULL DEFAULT 0,
    CONSTRAINT pg_dist_node_nodename_nodeport_key UNIQUE (nodename, nodeport)
);
ALTER TABLE citus.pg_dist_node SET SCHEMA pg_catalog;
COMMENT ON TABLE pg_catalog.pg_dist_node IS 'nodes of the cluster';

CREATE TABLE citus.pg_dist_local_group (
    groupid integer NOT NULL CONSTRAINT pg_dist_local_group_pkey PRIMARY KEY
);
ALTER TABLE citus.pg_dist_local_group SET SCHEMA pg_catalog;
INSERT INTO pg_catalog.pg_dist_local_group VALUES (0);
COMMENT ON TABLE pg_catalog.pg_dist_local_group IS 'the node group that this node belongs to, one row';

CREATE TABLE citus.pg_dist_node_metadata (metadata jsonb NOT NULL);
ALTER TABLE citus.pg_dist_node_metadata SET SCHEMA pg_catalog;
INSERT INTO pg_catalog.pg_dist_node_metadata
    VALUES (jsonb_build_object('server_id', gen_random_uuid()::text));
COMMENT ON TABLE pg_catalog.pg_dist_node_metadata IS 'facts about this node, one row';

CREATE TABLE citus.pg_dist_authinfo (
    nodeid integer NOT NULL,
    rolename name NOT NULL,
    authinfo text NOT NULL
);
ALTER TABLE citus.pg_dist_authinfo SET SCHEMA pg_catalog;
CREATE UNIQUE INDEX pg_dist_authinfo_identification_index
    ON pg_catalog.pg_dist_authinfo (rolename, nodeid DESC);
COMMENT ON TABLE pg_catalog.pg_dist_authinfo IS 'authentication parameters of connections to nodes, for superusers only';

CREATE TABLE citus.pg_dist_poolinfo (
    nodeid integer NOT NULL CONSTRAINT pg_dist_poolinfo_pkey PRIMARY KEY,
    poolinfo text NOT NULL
);
ALTER TABLE citus.pg_dist_poolinfo SET SCHEMA pg_catalog;
ALTER TABLE pg_catalog.pg_dist_poolinfo ADD CONSTRAINT pg_dist_poolinfo_nodeid_fkey
    FOREIGN KEY (nodeid) REFERENCES pg_catalog.pg_dist_node (nodeid) ON DELETE CASCADE;
COMMENT ON TABLE pg_catalog.pg_dist_poolinfo IS 'connection poolers in front of nodes, for superusers only';

-- What pg_read_all_data and pg_write_all_data may read and write does not include these.
ALTER TABLE pg_catalog.pg_dist_authinfo ENABLE ROW LEVEL SECURITY;
ALTER TABLE pg_catalog.pg_dist_poolinfo ENABLE ROW LEVEL SECURITY;
ALTER TABLE pg_catalog.pg_dist_authinfo ALTER COLUMN authinfo SET STATISTICS 0;

-- Transactions, jobs and leftovers --------------------------------------------------------------

CREATE TABLE citus.pg_dist_transaction (
    groupid integer NOT NULL,
    gid text NOT NULL,
    outer_xid xid8,
    CONSTRAINT pg_dist_transaction_unique_constraint UNIQUE (groupid, gid)
);
ALTER TABLE citus.pg_dist_transaction SET SCHEMA pg_catalog;
CREATE INDEX pg_dist_transaction_group_index ON pg_catalog.pg_dist_transaction (groupid);
COMMENT ON TABLE pg_catalog.pg_dist_transaction IS 'decided commits of prepared transactions on other nodes';

CREATE TABLE citus.pg_dist_cleanup (
    record_id bigint NOT NULL CONSTRAINT pg_dist_cleanup_pkey PRIMARY KEY,
    operation_id bigint NOT NULL,
    object_type integer NOT NULL,
    object_name text NOT NULL,
    node_group_id integer NOT NULL,
    policy_type integer NOT NULL
);
ALTER TABLE citus.pg_dist_cleanup SET SCHEMA pg_catalog;
COMMENT ON TABLE pg_catalog.pg_dist_cleanup IS 'objects on nodes that are to be removed once their operation has ended';

CREATE TABLE citus.pg_dist_background_job (
    job_id bigint NOT NULL
        DEFAULT nextval('pg_catalog.pg_dist_background_job_job_id_seq'::regclass)
        CONSTRAINT pg_dist_background_job_pkey PRIMARY KEY,
    state pg_catalog.citus_job_status NOT NULL DEFAULT 'scheduled',
    job_type name NOT NULL,
    description text NOT NULL,
    started_at timestamptz,
    finished_at timestamptz
);
ALTER TABLE citus.pg_dist_background_job SET SCHEMA pg_catalog;
COMMENT ON TABLE pg_catalog.pg_dist_background_job IS 'background jobs';

CREATE TABLE citus.pg_dist_background_task (
    job_id bigint NOT NULL,
    task_id bigint NOT NULL
        DEFAULT nextval('pg_catalog.pg_dist_background_task_task_id_seq'::regclass)
        CONSTRAINT pg_dist_background_task_pkey PRIMARY KEY,
    owner regrole NOT NULL DEFAULT CURRENT_USER::regrole,
    pid integer,
    status pg_catalog.citus_task_status NOT NULL DEFAULT 'runnable',
    command text NOT NULL,
    retry_count integer,
    not_before timestamptz,
    message text NOT NULL DEFAULT '',
    nodes_involved integer[],
    CONSTRAINT pg_dist_background_task_job_id_task_id UNIQUE (job_id, task_id)
);
ALTER TABLE citus.pg_dist_background_task SET SCHEMA pg_catalog;
ALTER TABLE pg_catalog.pg_dist_background_task ADD CONSTRAINT pg_dist_background_task_job_id_fkey
    FOREIGN KEY (job_id) REFERENCES pg_catalog.pg_dist_background_job (job_id);
CREATE INDEX pg_dist_background_task_status_task_id_index
    ON pg_catalog.pg_dist_background_task (status, task_id);
COMMENT ON TABLE pg_catalog.pg_dist_background_task IS 'tasks of background jobs';

CREATE TABLE citus.pg_dist_background_task_depend (
    job_id bigint NOT NULL,
    task_id bigint NOT NULL,
    depends_on bigint NOT NULL,
    CONSTRAINT pg_dist_background_task_depend_pkey PRIMARY KEY (job_id, task_id, depends_on)
);
ALTER TABLE citus.pg_dist_background_task_depend SET SCHEMA pg_catalog;
ALTER TABLE pg_catalog.pg_dist_background_task_depend
    ADD CONSTRAINT pg_dist_background_task_depend_job_id_task_id_fkey
    FOREIGN KEY (job_id, task_id)
    REFERENCES pg_catalog.pg_dist_background_task (job_id, task_id) ON DELETE CASCADE,
    ADD CONSTRAINT pg_dist_background_task_depend_job_id_depends_on_fkey
    FOREIGN KEY (job_id, depends_on)
    REFERENCES pg_catalog.pg_dist_background_task (job_id, task_id) ON DELETE CASCADE;
CREATE INDEX pg_dist_background_task_depend_task_id
    ON pg_catalog.pg_dist_background_task_depend (job_id, task_id);
CREATE INDEX pg_dist_background_task_depend_depends_on
    ON pg_catalog.pg_dist_background_task_depend (job_id, depends_on);
COMMENT ON TABLE pg_catalog.pg_dist_background_task_depend IS 'which tasks wait for which';

CREATE TABLE citus.pg_dist_rebalance_strategy (
    name name NOT NULL CONSTRAINT pg_dist_rebalance_strategy_name_key UNIQUE,
    default_strategy boolean NOT NULL DEFAULT false,
    shard_cost_function regproc NOT NULL,
    node_capacity_function regproc NOT NULL,
    shard_allowed_on_node_function regproc NOT NULL,
    default_threshold real NOT NULL,
    minimum_threshold real NOT NULL DEFAULT 0,
    improvement_threshold real NOT NULL DEFAULT 0
);
ALTER TABLE citus.pg_dist_rebalance_strategy SET SCHEMA pg_catalog;
COMMENT ON TABLE pg_catalog.pg_dist_rebalance_strategy IS 'strategies of the shard rebalancer';

-- What every user may read ----------------------------------------------------------------------

GRANT SELECT ON
    pg_catalog.pg_dist_partition, pg_catalog.pg_dist_shard, pg_catalog.pg_dist_placement,
    pg_catalog.pg_dist_colocation, pg_catalog.pg_dist_schema, pg_catalog.pg_dist_object,
    pg_catalog.pg_dist_node, pg_catalog.pg_dist_local_group, pg_catalog.pg_dist_node_metadata,
    pg_catalog.pg_dist_transaction, pg_catalog.pg_dist_cleanup,
    pg_catalog.pg_dist_background_job, pg_catalog.pg_dist_background_task,
    pg_catalog.pg_dist_background_task_depend, pg_catalog.pg_dist_rebalance_strategy
    TO PUBLIC;
GRANT SELECT ON SEQUENCE
    pg_catalog.pg_dist_shardid_seq, pg_catalog.pg_dist_placement_placementid_seq,
    pg_catalog.pg_dist_groupid_seq, pg_catalog.pg_dist_node_nodeid_seq,
    pg_catalog.pg_dist_colocationid_seq, pg_catalog.pg_dist_operationid_seq,
    pg_catalog.pg_dist_cleanup_recordid_seq, pg_catalog.pg_dist_clock_logical_seq,
    pg_catalog.pg_dist_background_job_job_id_seq, pg_catalog.pg_dist_background_task_task_id_seq
    TO PUBLIC;
