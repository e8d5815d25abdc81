-- Changes of the catalogs reach the caches of all backends through these triggers. Every function
-- is the same C function, which asks for the table that it was called for.

CREATE FUNCTION pg_catalog.citus_dist_partition_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_partition_cache_invalidate() IS 'tells all backends that tables changed';

CREATE FUNCTION pg_catalog.citus_dist_shard_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_shard_cache_invalidate() IS 'tells all backends that shards changed';

CREATE FUNCTION pg_catalog.citus_dist_placement_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_placement_cache_invalidate() IS 'tells all backends that placements changed';

CREATE FUNCTION pg_catalog.citus_dist_node_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_node_cache_invalidate() IS 'tells all backends that nodes changed';

CREATE FUNCTION pg_catalog.citus_dist_local_group_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_local_group_cache_invalidate() IS 'tells all backends that the local group changed';

CREATE FUNCTION pg_catalog.citus_dist_object_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_dist_object_cache_invalidate() IS 'tells all backends that distributed objects changed';

CREATE FUNCTION pg_catalog.citus_conninfo_cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.citus_conninfo_cache_invalidate() IS 'tells all backends that connection parameters changed';

CREATE FUNCTION citus_internal.cache_invalidate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'citus_cache_invalidate' LANGUAGE C;
COMMENT ON FUNCTION citus_internal.cache_invalidate() IS 'tells all backends that a catalog changed';

CREATE TRIGGER dist_partition_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_partition
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_partition_cache_invalidate();
CREATE TRIGGER dist_shard_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_shard
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_shard_cache_invalidate();
CREATE TRIGGER dist_placement_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_placement
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_placement_cache_invalidate();
CREATE TRIGGER dist_node_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_node
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_node_cache_invalidate();
CREATE TRIGGER dist_local_group_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_local_group
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_local_group_cache_invalidate();
CREATE TRIGGER dist_object_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_object
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_dist_object_cache_invalidate();
CREATE TRIGGER dist_authinfo_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_authinfo
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_conninfo_cache_invalidate();
CREATE TRIGGER dist_poolinfo_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_poolinfo
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.citus_conninfo_cache_invalidate();
CREATE TRIGGER dist_colocation_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_colocation
    FOR EACH ROW EXECUTE FUNCTION citus_internal.cache_invalidate();
CREATE TRIGGER dist_schema_cache_invalidate
    AFTER INSERT OR UPDATE OR DELETE ON pg_catalog.pg_dist_schema
    FOR EACH ROW EXECUTE FUNCTION citus_internal.cache_invalidate();
