//! Settings that SHOW ALL lists.

use super::conninfo::NodeConninfo;
use super::values::*;
use super::{setting_accessor, setting_define, setting_storage, settings};
use crate::pg::guc::{self, Bool, Context, Int, Meta, Real, Text, Unit, FACT, LIST, SECRET};

const MAX: i32 = i32::MAX;
/// A week in milliseconds.
const WEEK: i32 = 604_800_000;

settings! { register_listed;
    all_modifications_commutative: bool(false) User 0,
        "Lets concurrent writes to replicated shards run side by side, as if their order did not matter.";
    background_task_queue_interval: ms(5000, -1, WEEK) Sighup 0,
        "Time between two looks for runnable background tasks; -1 turns background tasks off.";
    cluster_name: text("default") SuperuserBackend 0,
        "Nodes of this cluster name in pg_dist_node are used.";
    consistent_reads: choice(ConsistentReads, RepeatableRead) User 0,
        "From which isolation level on a read of several nodes never sees a half of a transaction.";
    coordinator_aggregation_strategy: choice(CoordinatorAggregationStrategy, RowGather) User 0,
        "What to do with aggregates that cannot be split: gather the rows, or refuse.";
    count_distinct_error_rate: real(0.0, 0.0, 1.0) User 0,
        "Error that count(distinct) may have when the hll extension can estimate it; 0 means exact.";
    cpu_priority: int(0, -20, 19) Superuser 0,
        "Nice value of the processes of this session.";
    cpu_priority_for_logical_replication_senders: priority() Superuser 0,
        "Nice value of the processes that send a shard's changes while it is moved or split.";
    defer_drop_after_shard_move: bool(true) User 0,
        "Leaves the old placement of a moved shard to the background cleaner.";
    defer_drop_after_shard_split: bool(true) User 0,
        "Leaves the old shard of a split to the background cleaner.";
    defer_shard_delete_interval: ms(15000, -1, WEEK) Sighup 0,
        "Time between two runs of the background cleaner; -1 turns it off.";
    desired_percent_disk_available_after_move: real(10.0, 0.0, 100.0) Sighup 0,
        "Share of a node's disk that must stay free when a shard moves there.";
    distributed_deadlock_detection_factor: real(2.0, -1.0, 1000.0) Sighup 0,
        "Looks for distributed deadlocks every deadlock_timeout times this factor; -1 never.";
    enable_binary_protocol: bool(true) User 0,
        "Lets rows travel between nodes in binary form.";
    enable_change_data_capture: bool(false) User 0,
        "Shows changes of shards under the name of their table in logical decoding.";
    enable_create_database_propagation: bool(false) User 0,
        "Creates databases on all nodes.";
    enable_create_role_propagation: bool(true) User 0,
        "Creates roles on all nodes.";
    enable_deadlock_prevention: bool(true) User 0,
        "Lets modifications of several shards of a table wait for each other, so that they cannot deadlock.";
    enable_local_execution: bool(true) User 0,
        "Queries shards on this node without a connection.";
    enable_local_reference_table_foreign_keys: bool(true) User 0,
        "Allows foreign keys between local and reference tables.";
    enable_repartition_joins: bool(false) User 0,
        "Allows joins that move rows between nodes.";
    enable_schema_based_sharding: bool(false) User 0,
        "Makes new schemas distributed schemas.";
    enable_stat_counters: bool(false) Superuser 0,
        "Counts connections and distributed queries.";
    enable_statistics_collection: bool(false) Sighup 0,
        "Allows reports about the use of this cluster; nothing is ever sent.";
    explain_all_tasks: bool(false) User 0,
        "Shows all tasks of a query in EXPLAIN, not just one.";
    explain_analyze_sort_method: choice(ExplainAnalyzeSortMethod, ExecutionTime) User 0,
        "Order of the tasks in EXPLAIN ANALYZE.";
    limit_clause_row_fetch_count: int(-1, -1, MAX) User 0,
        "Rows to fetch from each shard when a LIMIT may be answered approximately; -1 never.";
    local_hostname: text("localhost") Superuser 0,
        "Host name under which this node connects to itself.";
    local_shared_pool_size: int(0, -1, MAX) Sighup 0,
        "Connections that all sessions together open to this node itself, which only checks of connections do: its shards are queried without any. 0 means half of max_connections, -1 no limit.";
    local_table_join_policy: choice(LocalTableJoinPolicy, Auto) User 0,
        "Which side of a join between a local and a distributed table moves.";
    log_remote_commands: bool(false) User 0,
        "Logs the commands that are sent to other nodes.";
    max_adaptive_executor_pool_size: int(16, 1, MAX) User 0,
        "Connections that a query opens to one node at most.";
    max_background_task_executors: int(1, 1, 1000) Sighup 0,
        "Background tasks that run side by side.";
    max_background_task_executors_per_node: int(1, 1, 128) Sighup 0,
        "Background tasks that use the same node side by side.";
    max_cached_connection_lifetime: ms(600_000, -1, MAX) User 0,
        "Age at which a kept connection to a node is closed; -1 never.";
    max_cached_conns_per_worker: int(1, 0, MAX) User 0,
        "Connections to each node that a session keeps between its transactions.";
    max_client_connections: int(-1, -1, guc::max_connections()) Superuser 0,
        "Connections on which clients of ordinary users have run a statement; those that nodes open do not count. -1 no limit.";
    max_high_priority_background_processes: int(2, 0, 10000) Superuser 0,
        "Processes whose priority one shard transfer may raise.";
    max_intermediate_result_size: kb(1_048_576, -1, MAX) User 0,
        "Size that the intermediate result of a query may reach; -1 no limit.";
    max_matview_size_to_auto_recreate: mb(1024, -1, MAX) User 0,
        "Size up to which a materialized view is built anew when its table is converted; -1 no limit.";
    max_shared_pool_size: int(0, -1, MAX) Sighup 0,
        "Connections that all sessions together open to one node; 0 means max_connections, -1 no limit.";
    max_worker_nodes_tracked: int(2048, 1024, MAX) Postmaster 0,
        "Nodes for which shared memory is set aside.";
    multi_shard_modify_mode: choice(MultiShardModifyMode, Parallel) User 0,
        "Whether a command on many shards uses one connection for each node or several.";
    multi_task_query_log_level: choice(LogLevel, Off) User 0,
        "Level at which queries on more than one shard are reported.";
    node_connection_timeout: ms(30000, 10, 3_600_000) User 0,
        "Time that connecting to a node may take.";
    node_conninfo: text("sslmode=require", guc::check_hook::<NodeConninfo>) Sighup SECRET,
        "Connection parameters for all connections to nodes.";
    propagate_set_commands: choice(PropagateSetCommands, None) User 0,
        "Accepted: settings that change answers follow the session to the nodes in any case.";
    recover_2pc_interval: ms(60000, -1, WEEK) Sighup 0,
        "Time between two recoveries of prepared transactions; -1 never.";
    remote_task_check_interval: ms(10, 1, MAX) User 0,
        "Time between two looks at tasks on other nodes.";
    shard_count: int(32, 1, 64000) User 0,
        "Number of shards of a new distributed table.";
    shard_replication_factor: int(1, 1, 100) User 0,
        "Number of placements of each shard of a new distributed table.";
    show_shards_for_app_name_prefixes: text("") User LIST,
        "Application names, by prefix, that see shards in the catalogs; * stands for all.";
    skip_constraint_validation: bool(false) Superuser 0,
        "Adds constraints to shards without looking at their rows.";
    skip_jsonb_validation_in_copy: bool(true) User 0,
        "Leaves checking jsonb values in COPY to the node that stores them.";
    stat_statements_track: choice(Track, None) Superuser 0,
        "Which statements citus_stat_statements counts.";
    stat_tenants_limit: int(100, 1, 10000) Postmaster 0,
        "Tenants that citus_stat_tenants shows.";
    stat_tenants_log_level: choice(LogLevel, Off) User 0,
        "Level at which the tenant statistics report about themselves.";
    stat_tenants_period: int(60, 1, 86400) User 0,
        "Length of a period of the tenant statistics in seconds.";
    stat_tenants_track: choice(Track, None) Superuser 0,
        "Which tenants citus_stat_tenants counts.";
    stat_tenants_untracked_sample_rate: real(1.0, 0.0, 1.0) User 0,
        "Share of the queries of tenants not tracked yet that are looked at.";
    superuser: text("") Superuser SECRET,
        "Role that background processes use for connections to nodes; empty means the extension's owner.";
    task_assignment_policy: choice(TaskAssignmentPolicy, Greedy) User 0,
        "Which placement of a replicated shard a read uses.";
    task_executor_type: choice(TaskExecutorType, Adaptive) User 0,
        "Kept for old configurations; there is one executor.";
    use_citus_managed_tables: bool(false) User 0,
        "Adds new local tables to the metadata.";
    use_secondary_nodes: choice(UseSecondaryNodes, Never) SuperuserBackend 0,
        "Whether reads go to secondary nodes.";
    values_materialization_threshold: int(100, -1, MAX) User 0,
        "Rows from which on a VALUES list is evaluated once and not on each shard; -1 never.";
    version: text("13.2.2") Internal FACT,
        "Version of Citus whose interface this extension has.";
    worker_min_messages: choice(LogLevel, Notice) User 0,
        "Lowest level of the messages of other nodes that reach the client.";
    writable_standby_coordinator: bool(false) User 0,
        "Allows simple writes through a coordinator that is a hot standby.";
}
