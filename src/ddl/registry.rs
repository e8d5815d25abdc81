//! Every kind of utility statement, and what is done with it when it touches managed tables.

use super::{dropped, functions, shards, statements};
use crate::catalog;
use crate::error::Result;
use crate::hooks::utility::Call;
use pgrx::pg_sys::NodeTag::{self, *};

/// What is done with a kind of statement.
#[derive(Clone, Copy)]
pub enum Treatment {
    /// It does not concern tables: the server runs it.
    Passes,
    /// It may run other statements, or drop tables and parts of them, in whatever way: the server
    /// runs it, and what it dropped is dropped from the shards too.
    Follows,
    /// It is applied to the shards, or refused where it concerns managed tables.
    Handled(fn(Call) -> Result<()>),
}

use Treatment::{Follows, Handled, Passes};

/// The registry. A kind that is missing here fails a test.
pub const KINDS: &[(NodeTag, Treatment)] = &[
    // Transactions, sessions, settings.
    (T_TransactionStmt, Passes),
    (T_VariableSetStmt, Passes),
    (T_VariableShowStmt, Passes),
    (T_DiscardStmt, Follows),
    (T_ConstraintsSetStmt, Handled(statements::set_constraints)),
    (T_CheckPointStmt, Passes),
    (T_LoadStmt, Passes),
    (T_NotifyStmt, Passes),
    (T_ListenStmt, Passes),
    (T_UnlistenStmt, Passes),
    (T_AlterSystemStmt, Passes),
    // A lock on the table itself holds off everybody who reaches its shards through it.
    (T_LockStmt, Passes),
    // Statements that the planner sees.
    (T_PlannedStmt, Passes),
    (T_DeclareCursorStmt, Passes),
    (T_FetchStmt, Passes),
    (T_ClosePortalStmt, Passes),
    (T_PrepareStmt, Passes),
    (T_DeallocateStmt, Passes),
    (T_ExecuteStmt, Passes),
    (T_ExplainStmt, Passes),
    (T_CreateTableAsStmt, Passes),
    // COPY has a hook of its own.
    (T_CopyStmt, Passes),
    // Procedural code.
    (T_CallStmt, Follows),
    (T_DoStmt, Follows),
    // Tables.
    (T_CreateStmt, Handled(statements::create_table)),
    (T_AlterTableStmt, Handled(statements::alter_table)),
    (T_DropStmt, Handled(statements::drop)),
    (T_TruncateStmt, Handled(statements::truncate)),
    (T_RenameStmt, Handled(statements::rename)),
    (T_AlterObjectSchemaStmt, Handled(statements::set_schema)),
    (T_AlterTableMoveAllStmt, Handled(statements::move_all)),
    (T_CommentStmt, Passes),
    (T_SecLabelStmt, Passes),
    (T_VacuumStmt, Handled(statements::vacuum)),
    (T_ClusterStmt, Handled(statements::cluster)),
    (T_RefreshMatViewStmt, Handled(statements::refresh)),
    (T_CreateForeignTableStmt, Passes),
    (T_ImportForeignSchemaStmt, Passes),
    // Indexes and statistics.
    (T_IndexStmt, Handled(statements::create_index)),
    (T_ReindexStmt, Handled(statements::reindex)),
    (T_CreateStatsStmt, Handled(statements::create_statistics)),
    (T_AlterStatsStmt, Handled(statements::alter_statistics)),
    // Triggers, rules, policies, publications.
    (T_CreateTrigStmt, Handled(statements::refuse)),
    (T_RuleStmt, Handled(statements::refuse)),
    (T_CreatePolicyStmt, Handled(statements::policy)),
    (T_AlterPolicyStmt, Handled(statements::policy)),
    (T_CreatePublicationStmt, Handled(statements::refuse)),
    (T_AlterPublicationStmt, Handled(statements::refuse)),
    (T_CreateSubscriptionStmt, Passes),
    (T_AlterSubscriptionStmt, Passes),
    (T_DropSubscriptionStmt, Passes),
    (T_CreateEventTrigStmt, Passes),
    (T_AlterEventTrigStmt, Passes),
    // Privileges, roles, owners.
    (T_GrantStmt, Handled(statements::grant)),
    (T_GrantRoleStmt, Handled(statements::grant_role)),
    (T_AlterDefaultPrivilegesStmt, Passes),
    (T_CreateRoleStmt, Handled(statements::change_role)),
    (T_AlterRoleStmt, Handled(statements::change_role)),
    (T_AlterRoleSetStmt, Passes),
    (T_DropRoleStmt, Handled(statements::drop_role)),
    (T_DropOwnedStmt, Handled(statements::drop_owned)),
    (T_ReassignOwnedStmt, Handled(statements::reassign_owned)),
    // For tables, ALTER ... OWNER TO is an ALTER TABLE.
    (T_AlterOwnerStmt, Handled(statements::change_owner)),
    // Objects that are no tables. Dropping parts of them may drop columns by a cascade.
    (T_CreateSchemaStmt, Follows),
    (T_CreateSeqStmt, Passes),
    (T_AlterSeqStmt, Passes),
    (T_ViewStmt, Follows),
    (T_DefineStmt, Passes),
    (T_CompositeTypeStmt, Passes),
    (T_CreateEnumStmt, Passes),
    (T_CreateRangeStmt, Passes),
    (T_CreateDomainStmt, Passes),
    (T_AlterEnumStmt, Handled(statements::alter_type)),
    (T_AlterDomainStmt, Handled(statements::alter_type)),
    (T_AlterTypeStmt, Passes),
    (T_CreateFunctionStmt, Handled(functions::change)),
    (T_AlterFunctionStmt, Handled(functions::change)),
    (T_AlterObjectDependsStmt, Passes),
    (T_CreateConversionStmt, Passes),
    (T_CreateCastStmt, Passes),
    (T_CreateTransformStmt, Passes),
    (T_CreateOpClassStmt, Passes),
    (T_CreateOpFamilyStmt, Passes),
    (T_AlterOpFamilyStmt, Passes),
    (T_AlterOperatorStmt, Passes),
    (T_AlterCollationStmt, Passes),
    (T_AlterTSDictionaryStmt, Passes),
    (T_AlterTSConfigurationStmt, Passes),
    (T_CreatePLangStmt, Passes),
    (T_CreateAmStmt, Passes),
    (T_CreateExtensionStmt, Follows),
    (T_AlterExtensionStmt, Follows),
    (T_AlterExtensionContentsStmt, Passes),
    (T_CreateFdwStmt, Passes),
    (T_AlterFdwStmt, Passes),
    (T_CreateForeignServerStmt, Passes),
    (T_AlterForeignServerStmt, Passes),
    (T_CreateUserMappingStmt, Passes),
    (T_AlterUserMappingStmt, Passes),
    (T_DropUserMappingStmt, Passes),
    // Databases and tablespaces.
    (T_CreatedbStmt, Passes),
    (T_AlterDatabaseStmt, Passes),
    (T_AlterDatabaseRefreshCollStmt, Passes),
    (T_AlterDatabaseSetStmt, Passes),
    (T_DropdbStmt, Passes),
    (T_CreateTableSpaceStmt, Passes),
    (T_AlterTableSpaceOptionsStmt, Passes),
    (T_DropTableSpaceStmt, Passes),
];

/// What is done with a kind of statement; `None` for one that is not listed.
pub fn treatment(tag: NodeTag) -> Option<Treatment> {
    KINDS.iter().find(|k| k.0 as u32 == tag as u32).map(|k| k.1)
}

/// Whether the server runs a kind of statement without our looking at it.
fn passes(tag: NodeTag) -> bool {
    // The most frequent ones first: these cost nothing.
    if matches!(
        tag,
        T_TransactionStmt
            | T_VariableSetStmt
            | T_VariableShowStmt
            | T_PrepareStmt
            | T_DeallocateStmt
            | T_DeclareCursorStmt
            | T_FetchStmt
            | T_ClosePortalStmt
            | T_ExplainStmt
    ) {
        return true;
    }
    matches!(treatment(tag), Some(Passes))
}

/// Runs a utility statement.
pub fn process(call: Call) -> Result<()> {
    let tag = call.statement().tag();
    if passes(tag) || !catalog::extension_ready() {
        return call.proceed();
    }
    shards::refuse_statement(call.statement())?;
    match treatment(tag) {
        Some(Handled(f)) => f(call),
        _ => dropped::following(|| call.proceed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL's own list of utility statements, from the names of the node tags: all that end
    /// in `Stmt` without those that are planned or only occur inside others.
    #[test]
    fn every_kind_is_listed_once() {
        let mut seen = std::collections::HashSet::new();
        for (tag, _) in KINDS {
            assert!(seen.insert(*tag as u32), "listed twice: {tag:?}");
        }
        const INNER: &[NodeTag] = &[
            T_RawStmt,
            T_Query,
            T_InsertStmt,
            T_DeleteStmt,
            T_UpdateStmt,
            T_MergeStmt,
            T_SelectStmt,
            T_ReturnStmt,
            T_PLAssignStmt,
            T_SetOperationStmt,
            T_ReplicaIdentityStmt,
        ];
        let (first, last) = (T_RawStmt as u32, T_AlterStatsStmt as u32);
        let mut missing = Vec::new();
        for number in first..=last {
            let inner = INNER.iter().any(|t| *t as u32 == number);
            if !inner && number != T_AlterTableCmd as u32 && !seen.contains(&number) {
                missing.push(number);
            }
        }
        assert!(missing.is_empty(), "kinds of statements that are not listed: {missing:?}");
    }
}
