-- Placements of shards: repairing and adding them. The functions check who owns the tables.

CREATE FUNCTION pg_catalog.citus_copy_shard_placement(
    shard_id bigint,
    source_node_name text,
    source_node_port integer,
    target_node_name text,
    target_node_port integer,
    transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_copy_shard_placement';
COMMENT ON FUNCTION pg_catalog.citus_copy_shard_placement(shard_id bigint, source_node_name text, source_node_port integer, target_node_name text, target_node_port integer, transfer_mode citus.shard_transfer_mode) IS 'copy a shard and those co-located with it to a node that has no healthy placement of them';

CREATE FUNCTION pg_catalog.citus_copy_shard_placement(
    shard_id bigint,
    source_node_id integer,
    target_node_id integer,
    transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_copy_shard_placement_by_id';
COMMENT ON FUNCTION pg_catalog.citus_copy_shard_placement(shard_id bigint, source_node_id integer, target_node_id integer, transfer_mode citus.shard_transfer_mode) IS 'copy a shard and those co-located with it to a node that has no healthy placement of them';

CREATE FUNCTION pg_catalog.master_copy_shard_placement(
    shard_id bigint,
    source_node_name text,
    source_node_port integer,
    target_node_name text,
    target_node_port integer,
    do_repair boolean DEFAULT true,
    transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'master_copy_shard_placement';
COMMENT ON FUNCTION pg_catalog.master_copy_shard_placement(shard_id bigint, source_node_name text, source_node_port integer, target_node_name text, target_node_port integer, do_repair boolean, transfer_mode citus.shard_transfer_mode) IS 'former name of citus_copy_shard_placement';

CREATE FUNCTION pg_catalog.replicate_table_shards(
    relation regclass,
    shard_replication_factor integer DEFAULT current_setting('citus.shard_replication_factor'::text)::integer,
    max_shard_copies integer DEFAULT 1000000,
    excluded_shard_list bigint[] DEFAULT '{}'::bigint[],
    shard_transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_replicate_table_shards';
COMMENT ON FUNCTION pg_catalog.replicate_table_shards(relation regclass, shard_replication_factor integer, max_shard_copies integer, excluded_shard_list bigint[], shard_transfer_mode citus.shard_transfer_mode) IS 'give every shard of a table as many healthy placements as wanted';

CREATE FUNCTION pg_catalog.citus_move_shard_placement(
    shard_id bigint,
    source_node_name text,
    source_node_port integer,
    target_node_name text,
    target_node_port integer,
    shard_transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_move_shard_placement';
COMMENT ON FUNCTION pg_catalog.citus_move_shard_placement(shard_id bigint, source_node_name text, source_node_port integer, target_node_name text, target_node_port integer, shard_transfer_mode citus.shard_transfer_mode) IS 'move a shard and those co-located with it to another node';

CREATE FUNCTION pg_catalog.citus_move_shard_placement(
    shard_id bigint,
    source_node_id integer,
    target_node_id integer,
    transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_move_shard_placement_by_id';
COMMENT ON FUNCTION pg_catalog.citus_move_shard_placement(shard_id bigint, source_node_id integer, target_node_id integer, transfer_mode citus.shard_transfer_mode) IS 'move a shard and those co-located with it to another node';

CREATE FUNCTION pg_catalog.master_move_shard_placement(
    shard_id bigint,
    source_node_name text,
    source_node_port integer,
    target_node_name text,
    target_node_port integer,
    shard_transfer_mode citus.shard_transfer_mode DEFAULT 'auto'::citus.shard_transfer_mode)
    RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_move_shard_placement';
COMMENT ON FUNCTION pg_catalog.master_move_shard_placement(shard_id bigint, source_node_name text, source_node_port integer, target_node_name text, target_node_port integer, shard_transfer_mode citus.shard_transfer_mode) IS 'former name of citus_move_shard_placement';

CREATE FUNCTION pg_catalog.citus_set_table_replication_model(
    table_name regclass,
    replication_model text)
    RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_set_table_replication_model';
COMMENT ON FUNCTION pg_catalog.citus_set_table_replication_model(table_name regclass, replication_model text) IS 'say who keeps the copies of a table''s shards equal: streaming or coordinator';

CREATE FUNCTION pg_catalog.citus_update_table_replication_factor(
    table_name regclass,
    replication_factor integer)
    RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_update_table_replication_factor';
COMMENT ON FUNCTION pg_catalog.citus_update_table_replication_factor(table_name regclass, replication_factor integer) IS 'make or drop copies so that each shard of a table and of those co-located with it has so many';

CREATE PROCEDURE pg_catalog.citus_cleanup_orphaned_resources()
    LANGUAGE C AS 'MODULE_PATHNAME', 'citus_cleanup_orphaned_resources';
COMMENT ON PROCEDURE pg_catalog.citus_cleanup_orphaned_resources() IS 'drop tables that shards left behind on nodes';

CREATE PROCEDURE pg_catalog.citus_cleanup_orphaned_shards()
    LANGUAGE C AS 'MODULE_PATHNAME', 'citus_cleanup_orphaned_resources';
COMMENT ON PROCEDURE pg_catalog.citus_cleanup_orphaned_shards() IS 'former name of citus_cleanup_orphaned_resources';
