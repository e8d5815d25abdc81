-- What the shard rebalancer goes by: cost of shards, capacity of nodes, and where a shard may be.

CREATE FUNCTION pg_catalog.citus_shard_cost_1(bigint) RETURNS real
    LANGUAGE sql
    AS $$ SELECT 1.0::real $$;
COMMENT ON FUNCTION pg_catalog.citus_shard_cost_1(bigint) IS
    'a shard cost function that makes all shards equal';

-- A shard is moved with those it is colocated with, so the cost is that of all of them. The base
-- cost keeps many empty shards from being put on one node.
CREATE FUNCTION pg_catalog.citus_shard_cost_by_disk_size(bigint) RETURNS real
    LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT (pg_size_bytes(current_setting('citus.rebalancer_by_disk_size_base_cost'))
        + coalesce(sum(citus_shard_size(s)), 0))::real
    FROM unnest(get_colocated_shard_array($1)) s
$$;
COMMENT ON FUNCTION pg_catalog.citus_shard_cost_by_disk_size(bigint) IS
    'a shard cost function that goes by the size on disk';

CREATE FUNCTION pg_catalog.citus_node_capacity_1(integer) RETURNS real
    LANGUAGE sql
    AS $$ SELECT 1.0::real $$;
COMMENT ON FUNCTION pg_catalog.citus_node_capacity_1(integer) IS
    'a node capacity function that makes all nodes equal';

CREATE FUNCTION pg_catalog.citus_shard_allowed_on_node_true(bigint, integer) RETURNS boolean
    LANGUAGE sql
    AS $$ SELECT true $$;
COMMENT ON FUNCTION pg_catalog.citus_shard_allowed_on_node_true(bigint, integer) IS
    'a shard allowed on node function that allows every node';

CREATE FUNCTION pg_catalog.citus_validate_rebalance_strategy_functions(
    shard_cost_function regproc,
    node_capacity_function regproc,
    shard_allowed_on_node_function regproc) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    role text;
    func regproc;
    arguments oidvector;
    result regtype;
BEGIN
    FOR role, func, arguments, result IN VALUES
        ('shard_cost_function', shard_cost_function, '20'::oidvector, 'real'::regtype),
        ('node_capacity_function', node_capacity_function, '23', 'real'),
        ('shard_allowed_on_node_function', shard_allowed_on_node_function, '20 23', 'boolean')
    LOOP
        IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = func AND p.prokind = 'f'
                AND NOT p.proretset AND p.proargtypes = arguments AND p.prorettype = result) THEN
            RAISE EXCEPTION 'signature of % is not %(%) returning %', role, func,
                (SELECT string_agg(format_type(a, NULL), ', ') FROM unnest(arguments) a), result
                USING ERRCODE = 'invalid_function_definition';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION pg_catalog.citus_validate_rebalance_strategy_functions(regproc, regproc, regproc)
    IS 'refuses functions that cannot stand in pg_dist_rebalance_strategy';

CREATE FUNCTION citus_internal.pg_dist_rebalance_strategy_trigger_func() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM citus_validate_rebalance_strategy_functions(NEW.shard_cost_function,
        NEW.node_capacity_function, NEW.shard_allowed_on_node_function);
    IF NEW.default_threshold < NEW.minimum_threshold THEN
        RAISE EXCEPTION 'default_threshold cannot be smaller than minimum_threshold'
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.default_strategy AND EXISTS (SELECT FROM pg_dist_rebalance_strategy
            WHERE default_strategy AND name <> NEW.name) THEN
        RAISE EXCEPTION 'there cannot be two default strategies' USING ERRCODE = 'check_violation',
            HINT = 'Use citus_set_default_rebalance_strategy().';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION citus_internal.pg_dist_rebalance_strategy_trigger_func() IS
    'keeps the rebalance strategies valid';

CREATE TRIGGER pg_dist_rebalance_strategy_validation_trigger
    BEFORE INSERT OR UPDATE ON pg_catalog.pg_dist_rebalance_strategy
    FOR EACH ROW EXECUTE FUNCTION citus_internal.pg_dist_rebalance_strategy_trigger_func();

INSERT INTO pg_catalog.pg_dist_rebalance_strategy (
    name, default_strategy, shard_cost_function, node_capacity_function,
    shard_allowed_on_node_function, default_threshold, minimum_threshold, improvement_threshold)
VALUES
    ('by_shard_count', false, 'citus_shard_cost_1', 'citus_node_capacity_1',
     'citus_shard_allowed_on_node_true', 0, 0, 0),
    ('by_disk_size', true, 'citus_shard_cost_by_disk_size', 'citus_node_capacity_1',
     'citus_shard_allowed_on_node_true', 0.1, 0.01, 0.5);

CREATE FUNCTION pg_catalog.citus_add_rebalance_strategy(
    name name,
    shard_cost_function regproc,
    node_capacity_function regproc,
    shard_allowed_on_node_function regproc,
    default_threshold real,
    minimum_threshold real DEFAULT 0,
    improvement_threshold real DEFAULT 0) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO pg_catalog.pg_dist_rebalance_strategy (
        name, shard_cost_function, node_capacity_function, shard_allowed_on_node_function,
        default_threshold, minimum_threshold, improvement_threshold)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION pg_catalog.citus_add_rebalance_strategy(
    name, regproc, regproc, regproc, real, real, real) IS 'adds a strategy of the shard rebalancer';

CREATE FUNCTION pg_catalog.citus_set_default_rebalance_strategy(name text) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    LOCK TABLE pg_dist_rebalance_strategy IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM pg_dist_rebalance_strategy s WHERE s.name = $1) THEN
        RAISE EXCEPTION 'strategy with specified name does not exist'
            USING ERRCODE = 'undefined_object',
            HINT = 'The strategies are listed in pg_dist_rebalance_strategy.';
    END IF;
    UPDATE pg_dist_rebalance_strategy s SET default_strategy = false
        WHERE s.default_strategy AND s.name <> $1;
    UPDATE pg_dist_rebalance_strategy s SET default_strategy = true
        WHERE NOT s.default_strategy AND s.name = $1;
END $$;
COMMENT ON FUNCTION pg_catalog.citus_set_default_rebalance_strategy(text) IS
    'makes a strategy the one that the shard rebalancer uses when none is named';
