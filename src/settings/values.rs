//! The values of settings that are one of several words.

/// Defines an enum of words; the first one also stands for a number that is none of them.
macro_rules! words {
    ($($(#[$doc:meta])* $type:ident { $($variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(i32)]
        pub enum $type {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }
        impl $type {
            /// The words and their numbers, in the order in which they are listed.
            pub(super) const VALUES: &'static [(&'static str, i32)] =
                &[$(($word, $type::$variant as i32),)*];

            pub(super) fn from_raw(raw: i32) -> Self {
                const ALL: &[$type] = &[$($type::$variant,)*];
                ALL.iter().copied().find(|v| *v as i32 == raw).unwrap_or(ALL[0])
            }

            /// The word.
            pub fn word(self) -> &'static str {
                match self { $($type::$variant => $word,)* }
            }
        }
    )*};
}

words! {
    /// Values of `citus.consistent_reads`.
    ConsistentReads { Off = "off", RepeatableRead = "repeatable_read", On = "on", }
    /// Values of `citus.coordinator_aggregation_strategy`.
    CoordinatorAggregationStrategy { Disabled = "disabled", RowGather = "row-gather", }
    /// Values of `citus.explain_analyze_sort_method`.
    ExplainAnalyzeSortMethod { ExecutionTime = "execution-time", TaskId = "taskId", }
    /// Values of `citus.local_table_join_policy`.
    LocalTableJoinPolicy {
        Never = "never",
        PreferLocal = "prefer-local",
        PreferDistributed = "prefer-distributed",
        Auto = "auto",
    }
    /// Values of `citus.multi_shard_modify_mode`.
    MultiShardModifyMode { Parallel = "parallel", Sequential = "sequential", }
    /// Values of `citus.propagate_set_commands`.
    PropagateSetCommands { None = "none", Local = "local", }
    /// Values of `citus.stat_statements_track` and `citus.stat_tenants_track`.
    Track { None = "none", All = "all", }
    /// Values of `citus.task_assignment_policy`.
    TaskAssignmentPolicy {
        Greedy = "greedy",
        FirstReplica = "first-replica",
        RoundRobin = "round-robin",
    }
    /// Values of `citus.task_executor_type`: kept for old configurations, all mean the same.
    TaskExecutorType {
        Adaptive = "adaptive",
        RealTime = "real-time",
        TaskTracker = "task-tracker",
    }
    /// Values of `citus.use_secondary_nodes`.
    UseSecondaryNodes { Never = "never", Always = "always", }
    /// Values of the settings that name a log level.
    LogLevel {
        Off = "off",
        Debug5 = "debug5",
        Debug4 = "debug4",
        Debug3 = "debug3",
        Debug2 = "debug2",
        Debug1 = "debug1",
        Log = "log",
        Notice = "notice",
        Warning = "warning",
        Error = "error",
    }
    /// Values of `citus.create_object_propagation`.
    CreateObjectPropagation {
        Deferred = "deferred",
        Automatic = "automatic",
        Immediate = "immediate",
    }
    /// Values of `citus.metadata_sync_mode`.
    MetadataSyncMode { Transactional = "transactional", Nontransactional = "nontransactional", }
    /// Values of `citus.replication_model`: statement-based replication exists only for
    /// `citus.shard_replication_factor` above 1 and does not depend on this setting.
    ReplicationModel { Statement = "statement", Streaming = "streaming", }
}

/// What `citus.cpu_priority_for_logical_replication_senders` holds for `inherit`.
pub(super) const INHERIT_PRIORITY: i32 = 88;

/// The values of `citus.cpu_priority_for_logical_replication_senders`.
pub(super) fn priority_words() -> Vec<(String, i32)> {
    let numbers = (-20..=19).map(|n| (n.to_string(), n));
    std::iter::once(("inherit".to_owned(), INHERIT_PRIORITY)).chain(numbers).collect()
}

impl LogLevel {
    /// PostgreSQL's number of the level; `None` for `off`.
    pub fn elevel(self) -> Option<u32> {
        use pgrx::pg_sys;
        Some(match self {
            LogLevel::Off => return None,
            LogLevel::Debug5 => pg_sys::DEBUG5,
            LogLevel::Debug4 => pg_sys::DEBUG4,
            LogLevel::Debug3 => pg_sys::DEBUG3,
            LogLevel::Debug2 => pg_sys::DEBUG2,
            LogLevel::Debug1 => pg_sys::DEBUG1,
            LogLevel::Log => pg_sys::LOG,
            LogLevel::Notice => pg_sys::NOTICE,
            LogLevel::Warning => pg_sys::WARNING,
            // pgrx keeps PostgreSQL's constant for itself.
            LogLevel::Error => 21,
        })
    }
}
