//! Settings that exist but are not listed: for tests, upgrades and special cases.

use super::values::*;
use super::{setting_accessor, setting_define, setting_storage, settings};
use crate::pg::guc::{Bool, Context, Int, Meta, Text, Unit, HIDDEN, LIST};

const MAX: i32 = i32::MAX;
/// A week in milliseconds.
const WEEK: i32 = 604_800_000;
const KB: i32 = 1024;
const MB: i32 = 1024 * 1024;

settings! { register_hidden;
    allow_modifications_from_workers_to_replicated_tables: bool(true) User HIDDEN,
        "Allows writes to replicated tables through nodes other than the coordinator.";
    allow_nested_distributed_execution: bool(false) User HIDDEN,
        "Allows a query on a shard to run distributed queries itself.";
    allow_unsafe_constraints: bool(false) User HIDDEN,
        "Allows unique constraints without the distribution column.";
    allow_unsafe_locks_from_workers: bool(false) User HIDDEN,
        "Allows LOCK on distributed tables through nodes other than the coordinator.";
    check_available_space_before_move: bool(true) User HIDDEN,
        "Looks at the free disk space of a node before a shard moves there.";
    copy_switchover_threshold: byte(4 * MB, 1, 1024 * MB) User HIDDEN,
        "Size of buffered COPY data from which on its connection is given to another shard.";
    create_object_propagation: choice(CreateObjectPropagation, Immediate) User HIDDEN,
        "When new objects are created on the other nodes.";
    enable_alter_database_owner: bool(true) User HIDDEN,
        "Sends ALTER DATABASE ... OWNER to all nodes.";
    enable_alter_role_propagation: bool(true) User HIDDEN,
        "Sends ALTER ROLE to all nodes.";
    enable_alter_role_set_propagation: bool(true) User HIDDEN,
        "Sends ALTER ROLE ... SET to all nodes.";
    enable_cluster_clock: bool(true) User HIDDEN,
        "Lets transactions read the cluster clock.";
    enable_cost_based_connection_establishment: bool(true) User HIDDEN,
        "Opens another connection only when the expected gain is above its cost.";
    enable_create_type_propagation: bool(true) User HIDDEN,
        "Creates types on all nodes.";
    enable_ddl_propagation: bool(true) User HIDDEN,
        "Sends DDL to the nodes.";
    enable_fast_path_router_planner: bool(true) User HIDDEN,
        "Plans simple queries on one shard without the general planner.";
    enable_local_fast_path_query_optimization: bool(true) User HIDDEN,
        "Runs simple queries on a local shard without deparsing them.";
    enable_manual_changes_to_shards: bool(false) User HIDDEN,
        "Allows commands that change shards by their own name.";
    enable_manual_metadata_changes_for_user: text("") Sighup HIDDEN,
        "Role that may call the functions that change metadata.";
    enable_metadata_sync: bool(true) User HIDDEN,
        "Sends changes of metadata to the nodes that have a copy.";
    enable_non_colocated_router_query_pushdown: bool(false) User HIDDEN,
        "Sends a query on tables that are not colocated to one node when all its shards are there.";
    enable_recurring_outer_join_pushdown: bool(true) User HIDDEN,
        "Pushes outer joins down whose outer side is the same on all shards.";
    enable_repartitioned_insert_select: bool(true) User HIDDEN,
        "Moves the rows of INSERT ... SELECT between the nodes without the coordinator.";
    enable_router_execution: bool(true) User HIDDEN,
        "Sends a query on one shard as a whole.";
    enable_single_hash_repartition_joins: bool(false) User HIDDEN,
        "Moves one side only when a join is on the other side's distribution column.";
    enable_unique_job_ids: bool(true) User HIDDEN,
        "Gives jobs identifiers that are unique in the cluster.";
    enable_unsafe_triggers: bool(false) User HIDDEN,
        "Allows triggers on distributed tables.";
    enable_unsupported_feature_messages: bool(true) Superuser HIDDEN,
        "Tells about features that distributed tables do not have.";
    enable_version_checks: bool(true) User HIDDEN,
        "Compares the versions of library, extension and nodes.";
    enforce_foreign_key_restrictions: bool(true) User HIDDEN,
        "Keeps a transaction from using several connections where foreign keys to reference tables need one.";
    enforce_object_restrictions_for_local_objects: bool(true) User HIDDEN,
        "Applies the restrictions of distributed objects to local ones too.";
    executor_slow_start_interval: ms(10, 0, MAX) User HIDDEN,
        "Time after which a query that is still running opens another connection to a node.";
    explain_distributed_queries: bool(true) User HIDDEN,
        "Explains the tasks of a distributed query.";
    force_max_query_parallelization: bool(false) User HIDDEN,
        "Opens as many connections as allowed at once.";
    function_opens_transaction_block: bool(true) User HIDDEN,
        "Runs the statements of a function in one transaction on the nodes.";
    grep_remote_commands: text("") User HIDDEN,
        "LIKE pattern of the commands that citus.log_remote_commands logs; empty means all.";
    hide_citus_dependent_objects: bool(false) User HIDDEN,
        "Hides the extension's own objects from catalog queries.";
    hide_shards_from_app_name_prefixes: text("") Superuser HIDDEN | LIST,
        "Application names, by prefix, that do not see shards in the catalogs.";
    isolation_test_session_process_id: int(-1, -1, MAX) User HIDDEN,
        "Process that isolation tests ask about.";
    isolation_test_session_remote_process_id: int(-1, -1, MAX) User HIDDEN,
        "Remote process that isolation tests ask about.";
    kept_connection_time: ms(4000, 0, 3_600_000) Superuser HIDDEN,
        "Time that a connection of a session that has ended is kept for a next one; 0 closes it.";
    local_copy_flush_threshold: byte(512 * KB, 1, 1024 * MB) User HIDDEN,
        "Size of buffered COPY data from which on it is written to a local shard.";
    log_distributed_deadlock_detection: bool(false) Sighup HIDDEN,
        "Logs what the detection of distributed deadlocks sees.";
    log_intermediate_results: bool(false) User HIDDEN,
        "Logs where intermediate results are stored.";
    log_local_commands: bool(false) User HIDDEN,
        "Logs the commands that run on local shards.";
    log_multi_join_order: bool(false) User HIDDEN,
        "Logs the order in which distributed tables are joined.";
    logical_replication_timeout: ms(7_200_000, 0, WEEK) Sighup HIDDEN,
        "Time without progress after which a shard transfer by logical replication gives up.";
    max_kept_connections: int(64, 0, 1024) Postmaster HIDDEN,
        "Connections to all nodes that are kept for sessions to come.";
    max_rebalancer_logged_ignored_moves: int(5, -1, MAX) User HIDDEN,
        "Moves that the rebalancer considered and did not make of which it tells; -1 all.";
    metadata_sync_interval: ms(60000, 1, WEEK) Sighup HIDDEN,
        "Time between two looks for nodes whose metadata is behind.";
    metadata_sync_mode: choice(MetadataSyncMode, Transactional) Superuser HIDDEN,
        "Whether metadata is sent in one transaction or in many.";
    metadata_sync_retry_interval: ms(5000, 1, WEEK) Sighup HIDDEN,
        "Time until a failed metadata sync is tried again.";
    mitmfifo: text("") Superuser HIDDEN,
        "Pipe of a network proxy in failure tests.";
    next_cleanup_record_id: int(0, 0, MAX) User HIDDEN,
        "Next cleanup record identifier; 0 means the sequence's.";
    next_operation_id: int(0, 0, MAX) User HIDDEN,
        "Next operation identifier; 0 means the sequence's.";
    next_placement_id: int(0, 0, MAX) User HIDDEN,
        "Next placement identifier; 0 means the sequence's.";
    next_shard_id: int(0, 0, MAX) User HIDDEN,
        "Next shard identifier; 0 means the sequence's.";
    override_table_visibility: bool(true) User HIDDEN,
        "Hides shards from catalog queries.";
    prevent_incomplete_connection_establishment: bool(true) User HIDDEN,
        "Waits for connections that are being opened before a query ends.";
    propagate_session_settings_for_loopback_connection: bool(false) User HIDDEN,
        "Gives the session's settings to connections to this node itself.";
    rebalancer_by_disk_size_base_cost: byte(100 * MB, 0, MAX) User HIDDEN,
        "Size that the by_disk_size strategy adds to every shard group.";
    remote_copy_flush_threshold: byte(8 * MB, 0, MAX) User HIDDEN,
        "Size of buffered COPY data from which on it is flushed to a node.";
    repartition_join_bucket_count_per_node: int(4, 1, MAX) Sighup HIDDEN,
        "Parts into which a repartition join divides its rows, for each node.";
    replicate_reference_tables_on_activate: bool(true) User HIDDEN,
        "Copies reference tables to a node when it is activated.";
    replication_model: choice(ReplicationModel, Streaming) Superuser HIDDEN,
        "Kept for old configurations; the replication factor decides.";
    report_transaction_id: bool(false) User HIDDEN,
        "Tells the client the id of a transaction block once it has one.";
    running_under_citus_test_suite: bool(false) Superuser HIDDEN,
        "Makes output independent of time and place for tests.";
    select_opens_transaction_block: bool(true) User HIDDEN,
        "Runs the parts of a SELECT in a transaction block on the nodes.";
    skip_advisory_lock_permission_checks: bool(false) Superuser HIDDEN,
        "Lets sessions lock shards of tables that they do not own.";
    sort_returning: bool(false) Superuser HIDDEN,
        "Sorts the rows of RETURNING, for tests.";
    stat_statements_max: int(50000, 1000, 10_000_000) Postmaster HIDDEN,
        "Statements that citus_stat_statements keeps.";
    stat_statements_purge_interval: ms(10, -1, MAX) Sighup HIDDEN,
        "Time between two removals of statements that pg_stat_statements has forgotten; -1 never.";
    subquery_pushdown: bool(false) User HIDDEN,
        "Kept for old configurations; subqueries are pushed down whenever that is right.";
}
