-- Sizes of tables and shards on disk.

CREATE FUNCTION citus_internal.shard_sizes(
    OUT shardid bigint, OUT groupid integer, OUT size bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'citus_all_shard_sizes' LANGUAGE C STRICT;
COMMENT ON FUNCTION citus_internal.shard_sizes() IS
    'size of every placement with its indexes; without those of nodes that do not answer';

CREATE FUNCTION pg_catalog.citus_shard_sizes(OUT shard_id integer, OUT size bigint)
    RETURNS SETOF record
    LANGUAGE sql STRICT
BEGIN ATOMIC
    SELECT s.shardid::integer, s.size FROM citus_internal.shard_sizes() s;
END;
COMMENT ON FUNCTION pg_catalog.citus_shard_sizes() IS
    'size of every placement of every shard, with its indexes';

CREATE FUNCTION pg_catalog.citus_shard_size(shard_id bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_shard_size' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_shard_size(bigint) IS
    'size of a placement of a shard, with its indexes';

CREATE FUNCTION pg_catalog.citus_relation_size(logicalrelid regclass) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_relation_size' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_relation_size(regclass) IS
    'size of the rows of all placements of a table, without indexes and TOAST';

CREATE FUNCTION pg_catalog.citus_table_size(logicalrelid regclass) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_table_size' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_table_size(regclass) IS
    'size of all placements of a table, without indexes';

CREATE FUNCTION pg_catalog.citus_total_relation_size(
    logicalrelid regclass, fail_on_error boolean DEFAULT true) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_total_relation_size' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_total_relation_size(regclass, boolean) IS
    'size of all placements of a table, with indexes';

CREATE FUNCTION pg_catalog.citus_update_shard_statistics(shard_id bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_update_shard_statistics' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_update_shard_statistics(bigint) IS
    'writes the size of a shard into pg_dist_placement.shardlength';

CREATE FUNCTION pg_catalog.citus_update_table_statistics(relation regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'citus_update_table_statistics' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_update_table_statistics(regclass) IS
    'writes the sizes of the shards of a table into pg_dist_placement.shardlength';

CREATE FUNCTION pg_catalog.master_update_shard_statistics(shard_id bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_update_shard_statistics' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.master_update_shard_statistics(bigint) IS
    'old name of citus_update_shard_statistics';

CREATE FUNCTION pg_catalog.master_update_table_statistics(relation regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'citus_update_table_statistics' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.master_update_table_statistics(regclass) IS
    'old name of citus_update_table_statistics';

CREATE FUNCTION pg_catalog.shard_name(
    object_name regclass, shard_id bigint, skip_qualify_public boolean DEFAULT true)
    RETURNS text
    AS 'MODULE_PATHNAME', 'citus_shard_name' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION pg_catalog.shard_name(regclass, bigint, boolean) IS
    'name of the table that holds a shard, with its schema unless that is public';

CREATE FUNCTION pg_catalog.citus_local_disk_space_stats(
    OUT available_disk_size bigint, OUT total_disk_size bigint) RETURNS record
    AS 'MODULE_PATHNAME', 'citus_local_disk_space_stats' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.citus_local_disk_space_stats() IS
    'free and total bytes of the file system of the data directory';
