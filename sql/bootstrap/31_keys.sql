-- Distribution columns, colocation and the shards that values belong to.

CREATE FUNCTION pg_catalog.worker_hash(value "any") RETURNS integer
    AS 'MODULE_PATHNAME', 'citus_worker_hash' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.worker_hash("any") IS
    'hash that decides to which shard a value of a distribution column belongs';

CREATE FUNCTION pg_catalog.get_shard_id_for_distribution_column(
    table_name regclass, distribution_value "any" DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'citus_get_shard_id' LANGUAGE C;
COMMENT ON FUNCTION pg_catalog.get_shard_id_for_distribution_column(regclass, "any") IS
    'shard that holds the rows with a value of the distribution column';

CREATE FUNCTION pg_catalog.column_name_to_column(table_name regclass, column_name text)
    RETURNS text
    AS 'MODULE_PATHNAME', 'citus_column_name_to_column' LANGUAGE C STRICT;
COMMENT ON FUNCTION pg_catalog.column_name_to_column(regclass, text) IS
    'a column as pg_dist_partition.partkey stores it';

CREATE FUNCTION pg_catalog.column_to_column_name(table_name regclass, column_var_text text)
    RETURNS text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    attno integer := substring(column_var_text from '^{VAR :varno [0-9]+ :varattno (-?[0-9]{1,5}) .*}$');
    found_name text;
BEGIN
    IF attno IS NULL THEN
        RAISE EXCEPTION 'not a valid column' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Use the value of pg_dist_partition.partkey.';
    END IF;
    SELECT attname INTO found_name FROM pg_attribute
        WHERE attrelid = table_name AND attnum = attno AND NOT attisdropped;
    IF found_name IS NULL THEN
        RAISE EXCEPTION 'attribute % of relation "%" does not exist', attno, table_name
            USING ERRCODE = 'undefined_column';
    END IF;
    RETURN found_name;
END $$;
COMMENT ON FUNCTION pg_catalog.column_to_column_name(regclass, text) IS
    'name of a column that pg_dist_partition.partkey stores';

CREATE FUNCTION pg_catalog.distributed_tables_colocated(table1 regclass, table2 regclass)
    RETURNS boolean
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT (SELECT colocationid FROM pg_dist_partition WHERE logicalrelid = table1)
         = (SELECT nullif(colocationid, 0) FROM pg_dist_partition WHERE logicalrelid = table2)
$$;
COMMENT ON FUNCTION pg_catalog.distributed_tables_colocated(regclass, regclass) IS
    'whether the shards of two tables are stored side by side; null when one has no colocation';

CREATE FUNCTION pg_catalog.get_colocated_table_array(regclass) RETURNS regclass[]
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tables regclass[];
BEGIN
    -- Tables without colocation are alone.
    SELECT array_agg(o.logicalrelid ORDER BY o.logicalrelid::oid) INTO tables
    FROM pg_dist_partition p
    JOIN pg_dist_partition o ON o.logicalrelid = p.logicalrelid
        OR (p.colocationid <> 0 AND o.colocationid = p.colocationid)
    WHERE p.logicalrelid = $1;
    IF tables IS NULL THEN
        RAISE EXCEPTION 'relation % is not distributed', $1 USING ERRCODE = 'wrong_object_type';
    END IF;
    RETURN tables;
END $$;
COMMENT ON FUNCTION pg_catalog.get_colocated_table_array(regclass) IS
    'tables whose shards are stored beside those of a table';

CREATE FUNCTION pg_catalog.get_colocated_shard_array(bigint) RETURNS bigint[]
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    shards bigint[];
BEGIN
    -- Shards of reference tables have no range: all shards of the group belong together.
    SELECT array_agg(o.shardid ORDER BY o.shardid) INTO shards
    FROM pg_dist_shard s
    JOIN pg_dist_partition p ON p.logicalrelid = s.logicalrelid
    JOIN pg_dist_partition q ON q.logicalrelid = p.logicalrelid
        OR (p.colocationid <> 0 AND q.colocationid = p.colocationid)
    JOIN pg_dist_shard o ON o.logicalrelid = q.logicalrelid
        AND o.shardminvalue IS NOT DISTINCT FROM s.shardminvalue
        AND o.shardmaxvalue IS NOT DISTINCT FROM s.shardmaxvalue
    WHERE s.shardid = $1;
    IF shards IS NULL THEN
        RAISE EXCEPTION 'could not find valid entry for shard %', $1
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN shards;
END $$;
COMMENT ON FUNCTION pg_catalog.get_colocated_shard_array(bigint) IS
    'shards that are stored beside a shard, itself among them';

CREATE FUNCTION pg_catalog.lock_relation_if_exists(table_name text, lock_mode text)
    RETURNS boolean
    LANGUAGE plpgsql STRICT
    AS $$
DECLARE
    -- Unqualified names follow the caller's search_path, so it is not pinned here.
    relation pg_catalog.regclass := pg_catalog.to_regclass(table_name);
    modes CONSTANT pg_catalog.text[] := ARRAY['ACCESS SHARE', 'ROW SHARE', 'ROW EXCLUSIVE',
        'SHARE UPDATE EXCLUSIVE', 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'];
    mode pg_catalog.text := pg_catalog.upper(lock_mode);
BEGIN
    IF NOT mode OPERATOR(pg_catalog.=) ANY (modes) THEN
        RAISE EXCEPTION 'unknown lock mode "%"', lock_mode
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Use one of ' OPERATOR(pg_catalog.||)
                pg_catalog.array_to_string(modes, ', ') OPERATOR(pg_catalog.||) '.';
    END IF;
    IF relation IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE pg_catalog.format('LOCK TABLE %s IN %s MODE', relation, mode);
    RETURN true;
EXCEPTION WHEN undefined_table THEN
    -- Dropped between look-up and lock.
    RETURN false;
END $$;
COMMENT ON FUNCTION pg_catalog.lock_relation_if_exists(text, text) IS
    'locks a table like LOCK TABLE; false when there is none';
