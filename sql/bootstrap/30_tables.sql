-- Creating and converting tables.

CREATE FUNCTION pg_catalog.create_distributed_table(
    table_name regclass,
    distribution_column text,
    distribution_type citus.distribution_type DEFAULT 'hash',
    colocate_with text DEFAULT 'default',
    shard_count integer DEFAULT NULL,
    replication_factor integer DEFAULT NULL)
RETURNS void LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'citus_create_distributed_table';
COMMENT ON FUNCTION pg_catalog.create_distributed_table(
    regclass, text, citus.distribution_type, text, integer, integer)
    IS 'distribute a table by the hash of a column';

CREATE FUNCTION pg_catalog.create_reference_table(table_name regclass)
RETURNS void LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'citus_create_reference_table';
COMMENT ON FUNCTION pg_catalog.create_reference_table(regclass)
    IS 'keep a copy of a table on every node';

CREATE FUNCTION pg_catalog.citus_add_local_table_to_metadata(
    table_name regclass,
    cascade_via_foreign_keys boolean DEFAULT false)
RETURNS void LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'citus_add_local_table_to_metadata';
COMMENT ON FUNCTION pg_catalog.citus_add_local_table_to_metadata(regclass, boolean)
    IS 'add a local table to the metadata';

CREATE FUNCTION pg_catalog.undistribute_table(
    table_name regclass,
    cascade_via_foreign_keys boolean DEFAULT false)
RETURNS void LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'citus_undistribute_table';
COMMENT ON FUNCTION pg_catalog.undistribute_table(regclass, boolean)
    IS 'turn a distributed, reference or managed local table into an ordinary one';

CREATE FUNCTION pg_catalog.remove_local_tables_from_metadata()
RETURNS void LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'citus_remove_local_tables_from_metadata';
COMMENT ON FUNCTION pg_catalog.remove_local_tables_from_metadata()
    IS 'remove local tables from the metadata that no foreign key connects with a reference table';

CREATE FUNCTION pg_catalog.truncate_local_data_after_distributing_table(function_name regclass)
RETURNS void LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'citus_truncate_local_data';
COMMENT ON FUNCTION pg_catalog.truncate_local_data_after_distributing_table(regclass)
    IS 'remove rows that are stored in a distributed table itself instead of its shards';

CREATE FUNCTION pg_catalog.update_distributed_table_colocation(
    table_name regclass,
    colocate_with text)
RETURNS void LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'citus_update_distributed_table_colocation';
COMMENT ON FUNCTION pg_catalog.update_distributed_table_colocation(regclass, text)
    IS 'move a distributed table to another co-location group';

-- These run what they are given with the privileges of the caller, who could do nothing more by
-- them than without. All the same only other nodes call them, in sessions of ordinary users too,
-- which cannot use schema citus_internal. The proof is that of a node (docs/security.md);
-- superusers need none.

CREATE FUNCTION pg_catalog.citus_internal_apply_shard_ddl(
    schemas text[], names text[], shard_ids bigint[], commands text[], proof text)
RETURNS void LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'citus_apply_shard_ddl';
COMMENT ON FUNCTION
    pg_catalog.citus_internal_apply_shard_ddl(text[], text[], bigint[], text[], text)
    IS 'apply statements on logical tables to shards; for other nodes';

CREATE FUNCTION pg_catalog.citus_internal_ensure_objects(commands text[], proof text)
RETURNS void LANGUAGE C VOLATILE
AS 'MODULE_PATHNAME', 'citus_ensure_objects';
COMMENT ON FUNCTION pg_catalog.citus_internal_ensure_objects(text[], text)
    IS 'run statements that create objects unless they exist; for other nodes';
