-- Schemas and types.

\echo Use "CREATE EXTENSION citus" to load this file. \quit

CREATE SCHEMA citus;
COMMENT ON SCHEMA citus IS 'types of the arguments of Citus functions';
GRANT USAGE ON SCHEMA citus TO PUBLIC;

CREATE SCHEMA citus_internal;
COMMENT ON SCHEMA citus_internal IS 'internal functions of Citus, closed to ordinary users';
REVOKE ALL ON SCHEMA citus_internal FROM PUBLIC;

CREATE TYPE citus.distribution_type AS ENUM ('hash', 'range', 'append');
COMMENT ON TYPE citus.distribution_type IS 'how the rows of a distributed table are assigned to shards';

CREATE TYPE citus.shard_transfer_mode AS ENUM ('auto', 'force_logical', 'block_writes');
COMMENT ON TYPE citus.shard_transfer_mode IS 'how a shard is copied to another node';

CREATE TYPE pg_catalog.noderole AS ENUM ('primary', 'secondary', 'unavailable');
COMMENT ON TYPE pg_catalog.noderole IS 'role of a node within its group';

CREATE TYPE pg_catalog.citus_copy_format AS ENUM ('csv', 'binary', 'text');
COMMENT ON TYPE pg_catalog.citus_copy_format IS 'format of an intermediate result';

CREATE TYPE pg_catalog.citus_job_status AS ENUM (
    'scheduled', 'running', 'finished', 'cancelling', 'cancelled', 'failing', 'failed');
COMMENT ON TYPE pg_catalog.citus_job_status IS 'state of a background job';

CREATE TYPE pg_catalog.citus_task_status AS ENUM (
    'blocked', 'runnable', 'running', 'done', 'cancelling', 'error', 'unscheduled', 'cancelled');
COMMENT ON TYPE pg_catalog.citus_task_status IS 'state of a task of a background job';

-- A composite type is a relation, which cannot be created in pg_catalog, only moved there.
CREATE TYPE citus.replication_slot_info AS (node_id integer, slot_owner text, slot_name text);
CREATE TYPE citus.split_copy_info AS (
    destination_shard_id bigint,
    destination_shard_min_value text,
    destination_shard_max_value text,
    destination_shard_node_id integer);
CREATE TYPE citus.split_shard_info AS (
    source_shard_id bigint,
    distribution_column text,
    child_shard_id bigint,
    shard_min_value text,
    shard_max_value text,
    node_id integer);
ALTER TYPE citus.replication_slot_info SET SCHEMA pg_catalog;
ALTER TYPE citus.split_copy_info SET SCHEMA pg_catalog;
ALTER TYPE citus.split_shard_info SET SCHEMA pg_catalog;
COMMENT ON TYPE pg_catalog.replication_slot_info IS 'replication slot that feeds one node in a shard split';
COMMENT ON TYPE pg_catalog.split_copy_info IS 'one target of the copy phase of a shard split';
COMMENT ON TYPE pg_catalog.split_shard_info IS 'one child shard of a shard split';
