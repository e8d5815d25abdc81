-- Users' commands on nodes and shards.

CREATE FUNCTION pg_catalog.run_command_on_workers(
    command text,
    parallel boolean DEFAULT true,
    OUT nodename text,
    OUT nodeport integer,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_workers';
COMMENT ON FUNCTION pg_catalog.run_command_on_workers(command text, parallel boolean) IS 'run a command on all workers';

CREATE FUNCTION pg_catalog.run_command_on_all_nodes(
    command text,
    parallel boolean DEFAULT true,
    give_warning_for_connection_errors boolean DEFAULT false,
    OUT nodeid integer,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_all_nodes';
COMMENT ON FUNCTION pg_catalog.run_command_on_all_nodes(command text, parallel boolean, give_warning_for_connection_errors boolean) IS 'run a command on all nodes, the coordinator included';

CREATE FUNCTION pg_catalog.run_command_on_coordinator(
    command text,
    give_warning_for_connection_errors boolean DEFAULT false,
    OUT nodeid integer,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_coordinator';
COMMENT ON FUNCTION pg_catalog.run_command_on_coordinator(command text, give_warning_for_connection_errors boolean) IS 'run a command on the coordinator';

CREATE FUNCTION pg_catalog.run_command_on_placements(
    table_name regclass,
    command text,
    parallel boolean DEFAULT true,
    OUT nodename text,
    OUT nodeport integer,
    OUT shardid bigint,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_placements';
COMMENT ON FUNCTION pg_catalog.run_command_on_placements(table_name regclass, command text, parallel boolean) IS 'run a command on each placement of a table; %s stands for the name of the shard';

CREATE FUNCTION pg_catalog.run_command_on_shards(
    table_name regclass,
    command text,
    parallel boolean DEFAULT true,
    OUT shardid bigint,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_shards';
COMMENT ON FUNCTION pg_catalog.run_command_on_shards(table_name regclass, command text, parallel boolean) IS 'run a command on each shard of a table; %s stands for the name of the shard';

CREATE FUNCTION pg_catalog.run_command_on_colocated_placements(
    table_name1 regclass,
    table_name2 regclass,
    command text,
    parallel boolean DEFAULT true,
    OUT nodename text,
    OUT nodeport integer,
    OUT shardid1 bigint,
    OUT shardid2 bigint,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'citus_run_command_on_colocated_placements';
COMMENT ON FUNCTION pg_catalog.run_command_on_colocated_placements(table_name1 regclass, table_name2 regclass, command text, parallel boolean) IS 'run a command on each pair of placements of two co-located tables; %1$s and %2$s stand for the names of their shards';

CREATE FUNCTION pg_catalog.master_run_on_worker(
    worker_name text[],
    port integer[],
    command text[],
    parallel boolean,
    OUT node_name text,
    OUT node_port integer,
    OUT success boolean,
    OUT result text)
    RETURNS SETOF record
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'citus_run_on_worker';
COMMENT ON FUNCTION pg_catalog.master_run_on_worker(worker_name text[], port integer[], command text[], parallel boolean) IS 'run commands on servers, each on its own';

CREATE FUNCTION pg_catalog.citus_run_local_command(command text) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    propagation text := pg_catalog.current_setting('citus.enable_ddl_propagation');
BEGIN
    PERFORM pg_catalog.set_config('citus.enable_ddl_propagation', 'off', true);
    EXECUTE command;
    PERFORM pg_catalog.set_config('citus.enable_ddl_propagation', propagation, true);
END;
$$;
COMMENT ON FUNCTION pg_catalog.citus_run_local_command(text) IS 'run a command on this node only';

CREATE FUNCTION pg_catalog.master_get_table_ddl_events(text) RETURNS SETOF text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'citus_table_ddl_events';
COMMENT ON FUNCTION pg_catalog.master_get_table_ddl_events(text) IS 'the statements that make an empty copy of a table, without foreign keys';
