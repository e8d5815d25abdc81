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
