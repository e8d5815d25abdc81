//! The types of nodes that the planner works with, and their fields.
//!
//! A field is read by its name in Rust's spelling, and written by `set_` and that name.

use super::{List, Node, Ref, Tagged, Text};
use pgrx::pg_sys::{
    self, AggSplit, BoolExprType, CmdType, CoercionForm, JoinType, LockClauseStrength,
    LockWaitPolicy, NodeTag, NullTestType, Oid, OnConflictAction, OverridingKind, ParamKind,
    RTEKind, SetOperation, SubLinkType, WCOKind,
};
use std::ptr::{addr_of, addr_of_mut};

macro_rules! types {
    ($($t:ident: $tag:ident,)*) => {
        $(
            #[doc = concat!("A `", stringify!($t), "` node.")]
            pub type $t = Ref<pg_sys::$t>;

            // SAFETY: nodes with the tag are of the type, and all of their fields may be zero.
            unsafe impl Tagged for pg_sys::$t {
                const TAG: NodeTag = NodeTag::$tag;
            }
        )*

        /// A node by its type.
        #[derive(Clone, Copy)]
        pub enum Kind {
            /// No node.
            None,
            /// A list of nodes.
            List(List<Node>),
            $(
                #[doc = concat!("A `", stringify!($t), "`.")]
                $t($t),
            )*
            /// A node of another type.
            Other(NodeTag),
        }

        impl Node {
            /// The node by its type.
            pub fn kind(self) -> Kind {
                match self.tag() {
                    NodeTag::T_Invalid => Kind::None,
                    NodeTag::T_List => Kind::List(self.list()),
                    $(NodeTag::$tag => self.cast::<$t>().map_or(Kind::None, Kind::$t),)*
                    other => Kind::Other(other),
                }
            }
        }
    };
}

types! {
    Query: T_Query,
    RangeTblEntry: T_RangeTblEntry,
    Alias: T_Alias,
    RangeTblFunction: T_RangeTblFunction,
    RangeTblRef: T_RangeTblRef,
    FromExpr: T_FromExpr,
    JoinExpr: T_JoinExpr,
    TargetEntry: T_TargetEntry,
    SortGroupClause: T_SortGroupClause,
    WindowClause: T_WindowClause,
    RowMarkClause: T_RowMarkClause,
    SetOperationStmt: T_SetOperationStmt,
    CommonTableExpr: T_CommonTableExpr,
    OnConflictExpr: T_OnConflictExpr,
    InferenceElem: T_InferenceElem,
    MergeAction: T_MergeAction,
    WithCheckOption: T_WithCheckOption,
    Var: T_Var,
    Const: T_Const,
    Param: T_Param,
    Aggref: T_Aggref,
    FuncExpr: T_FuncExpr,
    OpExpr: T_OpExpr,
    ScalarArrayOpExpr: T_ScalarArrayOpExpr,
    BoolExpr: T_BoolExpr,
    SubLink: T_SubLink,
    RelabelType: T_RelabelType,
    CoerceViaIO: T_CoerceViaIO,
    ArrayCoerceExpr: T_ArrayCoerceExpr,
    CollateExpr: T_CollateExpr,
    CaseExpr: T_CaseExpr,
    CaseWhen: T_CaseWhen,
    NullTest: T_NullTest,
    RowExpr: T_RowExpr,
    FieldSelect: T_FieldSelect,
    SubscriptingRef: T_SubscriptingRef,
    FieldStore: T_FieldStore,
    CoerceToDomain: T_CoerceToDomain,
    PlannedStmt: T_PlannedStmt,
    CustomScan: T_CustomScan,
    ValuesScan: T_ValuesScan,
    RelOptInfo: T_RelOptInfo,
    PathTarget: T_PathTarget,
    RestrictInfo: T_RestrictInfo,
}

/// The part that all plan nodes begin with.
pub type Plan = Ref<pg_sys::Plan>;

/// A field's type here must have the size of PostgreSQL's.
const fn same_size<A, B>(_: *const A) {
    const { assert!(std::mem::size_of::<A>() == std::mem::size_of::<B>()) }
}

macro_rules! fields {
    ($($t:ident { $($($field:ident).+: $get:ident, $set:ident, $typ:ty;)* })*) => {
        $(impl Ref<pg_sys::$t> {
            $(
                #[doc = concat!("Field `", stringify!($($field).+), "`.")]
                pub fn $get(self) -> $typ {
                    // SAFETY: a valid node; the handle has the form of the field, which is
                    // declared to hold what the handle's type says.
                    unsafe {
                        let at = addr_of!((*self.as_ptr()).$($field).+);
                        same_size::<_, $typ>(at);
                        at.cast::<$typ>().read()
                    }
                }

                #[doc = concat!("Sets field `", stringify!($($field).+), "`.")]
                pub fn $set(self, value: $typ) {
                    // SAFETY: as above.
                    unsafe { addr_of_mut!((*self.as_ptr()).$($field).+).cast::<$typ>().write(value) }
                }
            )*
        })*
    };
}

fields! {
    Query {
        commandType: command_type, set_command_type, CmdType::Type;
        queryId: query_id, set_query_id, u64;
        canSetTag: can_set_tag, set_can_set_tag, bool;
        resultRelation: result_relation, set_result_relation, i32;
        hasAggs: has_aggs, set_has_aggs, bool;
        hasWindowFuncs: has_window_funcs, set_has_window_funcs, bool;
        hasTargetSRFs: has_target_srfs, set_has_target_srfs, bool;
        hasSubLinks: has_sub_links, set_has_sub_links, bool;
        hasDistinctOn: has_distinct_on, set_has_distinct_on, bool;
        hasRecursive: has_recursive, set_has_recursive, bool;
        hasModifyingCTE: has_modifying_cte, set_has_modifying_cte, bool;
        hasForUpdate: has_for_update, set_has_for_update, bool;
        hasRowSecurity: has_row_security, set_has_row_security, bool;
        cteList: ctes, set_ctes, List<CommonTableExpr>;
        rtable: rtable, set_rtable, List<RangeTblEntry>;
        jointree: jointree, set_jointree, Option<FromExpr>;
        mergeActionList: merge_action_list, set_merge_action_list, List<MergeAction>;
        targetList: target_list, set_target_list, List<TargetEntry>;
        override_: overriding, set_overriding, OverridingKind::Type;
        onConflict: on_conflict, set_on_conflict, Option<OnConflictExpr>;
        returningList: returning_list, set_returning_list, List<TargetEntry>;
        groupClause: group_clause, set_group_clause, List<SortGroupClause>;
        groupDistinct: group_distinct, set_group_distinct, bool;
        groupingSets: grouping_sets, set_grouping_sets, List<Node>;
        havingQual: having_qual, set_having_qual, Node;
        windowClause: window_clause, set_window_clause, List<WindowClause>;
        distinctClause: distinct_clause, set_distinct_clause, List<SortGroupClause>;
        sortClause: sort_clause, set_sort_clause, List<SortGroupClause>;
        limitOffset: limit_offset, set_limit_offset, Node;
        limitCount: limit_count, set_limit_count, Node;
        rowMarks: row_marks, set_row_marks, List<RowMarkClause>;
        setOperations: set_operations, set_set_operations, Node;
        constraintDeps: constraint_deps, set_constraint_deps, List<Oid>;
        withCheckOptions: with_check_options, set_with_check_options, List<WithCheckOption>;
        stmt_location: stmt_location, set_stmt_location, i32;
        stmt_len: stmt_len, set_stmt_len, i32;
    }
    RangeTblEntry {
        rtekind: rtekind, set_rtekind, RTEKind::Type;
        relid: relid, set_relid, Oid;
        relkind: relkind, set_relkind, u8;
        subquery: subquery, set_subquery, Option<Query>;
        jointype: jointype, set_jointype, JoinType::Type;
        joinaliasvars: joinaliasvars, set_joinaliasvars, List<Node>;
        functions: functions, set_functions, List<RangeTblFunction>;
        values_lists: values_lists, set_values_lists, List<Node>;
        ctename: ctename, set_ctename, Text;
        ctelevelsup: ctelevelsup, set_ctelevelsup, u32;
        self_reference: self_reference, set_self_reference, bool;
        coltypes: coltypes, set_coltypes, List<Oid>;
        coltypmods: coltypmods, set_coltypmods, List<i32>;
        colcollations: colcollations, set_colcollations, List<Oid>;
        enrtuples: enrtuples, set_enrtuples, f64;
        alias: alias, set_alias, Option<Alias>;
        eref: eref, set_eref, Option<Alias>;
        inh: inh, set_inh, bool;
        inFromCl: in_from_cl, set_in_from_cl, bool;
        lateral: lateral, set_lateral, bool;
        tablesample: tablesample, set_tablesample, Node;
        securityQuals: security_quals, set_security_quals, List<Node>;
        checkAsUser: check_as_user, set_check_as_user, Oid;
        security_barrier: security_barrier, set_security_barrier, bool;
    }
    Alias {
        aliasname: aliasname, set_aliasname, Text;
        colnames: colnames, set_colnames, List<Node>;
    }
    RangeTblFunction {
        funcexpr: funcexpr, set_funcexpr, Node;
        funccolcount: funccolcount, set_funccolcount, i32;
        funccolnames: funccolnames, set_funccolnames, List<Node>;
        funccoltypes: funccoltypes, set_funccoltypes, List<Oid>;
        funccoltypmods: funccoltypmods, set_funccoltypmods, List<i32>;
        funccolcollations: funccolcollations, set_funccolcollations, List<Oid>;
    }
    RangeTblRef {
        rtindex: rtindex, set_rtindex, i32;
    }
    FromExpr {
        fromlist: fromlist, set_fromlist, List<Node>;
        quals: quals, set_quals, Node;
    }
    JoinExpr {
        jointype: jointype, set_jointype, JoinType::Type;
        larg: larg, set_larg, Node;
        rarg: rarg, set_rarg, Node;
        quals: quals, set_quals, Node;
        rtindex: rtindex, set_rtindex, i32;
    }
    TargetEntry {
        expr: expr, set_expr, Node;
        resno: resno, set_resno, i16;
        resname: resname, set_resname, Text;
        ressortgroupref: ressortgroupref, set_ressortgroupref, u32;
        resjunk: resjunk, set_resjunk, bool;
    }
    SortGroupClause {
        tleSortGroupRef: tle_sort_group_ref, set_tle_sort_group_ref, u32;
        eqop: eqop, set_eqop, Oid;
        sortop: sortop, set_sortop, Oid;
        hashable: hashable, set_hashable, bool;
    }
    WindowClause {
        partitionClause: partition_clause, set_partition_clause, List<SortGroupClause>;
    }
    RowMarkClause {
        rti: rti, set_rti, u32;
        strength: strength, set_strength, LockClauseStrength::Type;
        waitPolicy: wait_policy, set_wait_policy, LockWaitPolicy::Type;
    }
    SetOperationStmt {
        op: op, set_op, SetOperation::Type;
        all: all, set_all, bool;
        larg: larg, set_larg, Node;
        rarg: rarg, set_rarg, Node;
    }
    CommonTableExpr {
        ctename: ctename, set_ctename, Text;
        ctequery: ctequery, set_ctequery, Node;
        cterecursive: cterecursive, set_cterecursive, bool;
        cterefcount: cterefcount, set_cterefcount, i32;
    }
    OnConflictExpr {
        action: action, set_action, OnConflictAction::Type;
        arbiterElems: arbiter_elems, set_arbiter_elems, List<Node>;
        arbiterWhere: arbiter_where, set_arbiter_where, Node;
        constraint: constraint, set_constraint, Oid;
        onConflictSet: on_conflict_set, set_on_conflict_set, List<TargetEntry>;
        onConflictWhere: on_conflict_where, set_on_conflict_where, Node;
        exclRelIndex: excl_rel_index, set_excl_rel_index, i32;
    }
    InferenceElem {
        expr: expr, set_expr, Node;
    }
    MergeAction {
        matched: matched, set_matched, bool;
        commandType: command_type, set_command_type, CmdType::Type;
        qual: qual, set_qual, Node;
        targetList: target_list, set_target_list, List<TargetEntry>;
    }
    WithCheckOption {
        kind: check_kind, set_check_kind, WCOKind::Type;
        relname: relname, set_relname, Text;
        qual: qual, set_qual, Node;
    }
    Var {
        varno: varno, set_varno, i32;
        varattno: varattno, set_varattno, i16;
        vartype: vartype, set_vartype, Oid;
        vartypmod: vartypmod, set_vartypmod, i32;
        varcollid: varcollid, set_varcollid, Oid;
        varlevelsup: varlevelsup, set_varlevelsup, u32;
        varnosyn: varnosyn, set_varnosyn, u32;
        varattnosyn: varattnosyn, set_varattnosyn, i16;
    }
    Param {
        paramkind: paramkind, set_paramkind, ParamKind::Type;
        paramid: paramid, set_paramid, i32;
        paramtype: paramtype, set_paramtype, Oid;
        paramtypmod: paramtypmod, set_paramtypmod, i32;
        paramcollid: paramcollid, set_paramcollid, Oid;
        location: location, set_location, i32;
    }
    Aggref {
        aggfnoid: aggfnoid, set_aggfnoid, Oid;
        aggtype: aggtype, set_aggtype, Oid;
        aggcollid: aggcollid, set_aggcollid, Oid;
        inputcollid: inputcollid, set_inputcollid, Oid;
        aggargtypes: aggargtypes, set_aggargtypes, List<Oid>;
        args: args, set_args, List<TargetEntry>;
        aggorder: aggorder, set_aggorder, List<Node>;
        aggdistinct: aggdistinct, set_aggdistinct, List<Node>;
        aggfilter: aggfilter, set_aggfilter, Node;
        aggvariadic: aggvariadic, set_aggvariadic, bool;
        aggkind: aggkind, set_aggkind, u8;
        agglevelsup: agglevelsup, set_agglevelsup, u32;
        aggsplit: aggsplit, set_aggsplit, AggSplit::Type;
        aggno: aggno, set_aggno, i32;
        aggtransno: aggtransno, set_aggtransno, i32;
        location: location, set_location, i32;
    }
    FuncExpr {
        funcid: funcid, set_funcid, Oid;
        funcretset: funcretset, set_funcretset, bool;
        funcvariadic: funcvariadic, set_funcvariadic, bool;
        funcformat: funcformat, set_funcformat, CoercionForm::Type;
        args: args, set_args, List<Node>;
    }
    OpExpr {
        opno: opno, set_opno, Oid;
        opfuncid: opfuncid, set_opfuncid, Oid;
        opresulttype: opresulttype, set_opresulttype, Oid;
        opretset: opretset, set_opretset, bool;
        inputcollid: inputcollid, set_inputcollid, Oid;
        args: args, set_args, List<Node>;
        location: location, set_location, i32;
    }
    ScalarArrayOpExpr {
        opno: opno, set_opno, Oid;
        useOr: use_or, set_use_or, bool;
        inputcollid: inputcollid, set_inputcollid, Oid;
        args: args, set_args, List<Node>;
    }
    BoolExpr {
        boolop: boolop, set_boolop, BoolExprType::Type;
        args: args, set_args, List<Node>;
    }
    SubLink {
        subLinkType: sub_link_type, set_sub_link_type, SubLinkType::Type;
        subLinkId: sub_link_id, set_sub_link_id, i32;
        testexpr: testexpr, set_testexpr, Node;
        subselect: subselect, set_subselect, Node;
        location: location, set_location, i32;
    }
    RelabelType {
        arg: arg, set_arg, Node;
        resulttype: resulttype, set_resulttype, Oid;
        resulttypmod: resulttypmod, set_resulttypmod, i32;
        resultcollid: resultcollid, set_resultcollid, Oid;
        relabelformat: relabelformat, set_relabelformat, CoercionForm::Type;
    }
    CoerceViaIO {
        arg: arg, set_arg, Node;
        resulttype: resulttype, set_resulttype, Oid;
        resultcollid: resultcollid, set_resultcollid, Oid;
        coerceformat: coerceformat, set_coerceformat, CoercionForm::Type;
        location: location, set_location, i32;
    }
    ArrayCoerceExpr {
        arg: arg, set_arg, Node;
        coerceformat: coerceformat, set_coerceformat, CoercionForm::Type;
    }
    CollateExpr {
        arg: arg, set_arg, Node;
        collOid: coll_oid, set_coll_oid, Oid;
        location: location, set_location, i32;
    }
    CaseExpr {
        casetype: casetype, set_casetype, Oid;
        arg: arg, set_arg, Node;
        casecollid: casecollid, set_casecollid, Oid;
        args: args, set_args, List<CaseWhen>;
        defresult: defresult, set_defresult, Node;
        location: location, set_location, i32;
    }
    CaseWhen {
        expr: expr, set_expr, Node;
        result: result, set_result, Node;
        location: location, set_location, i32;
    }
    NullTest {
        arg: arg, set_arg, Node;
        nulltesttype: nulltesttype, set_nulltesttype, NullTestType::Type;
        location: location, set_location, i32;
    }
    RowExpr {
        args: args, set_args, List<Node>;
        row_typeid: row_typeid, set_row_typeid, Oid;
        row_format: row_format, set_row_format, CoercionForm::Type;
        colnames: colnames, set_colnames, List<Node>;
        location: location, set_location, i32;
    }
    FieldSelect {
        arg: arg, set_arg, Node;
        fieldnum: fieldnum, set_fieldnum, i16;
        resulttype: resulttype, set_resulttype, Oid;
        resulttypmod: resulttypmod, set_resulttypmod, i32;
        resultcollid: resultcollid, set_resultcollid, Oid;
    }
    FieldStore {
        arg: arg, set_arg, Node;
        newvals: newvals, set_newvals, List<Node>;
    }
    SubscriptingRef {
        refexpr: refexpr, set_refexpr, Node;
        refassgnexpr: refassgnexpr, set_refassgnexpr, Node;
    }
    CoerceToDomain {
        arg: arg, set_arg, Node;
        coercionformat: coercionformat, set_coercionformat, CoercionForm::Type;
    }
    PlannedStmt {
        commandType: command_type, set_command_type, CmdType::Type;
        queryId: query_id, set_query_id, u64;
        hasReturning: has_returning, set_has_returning, bool;
        hasModifyingCTE: has_modifying_cte, set_has_modifying_cte, bool;
        canSetTag: can_set_tag, set_can_set_tag, bool;
        dependsOnRole: depends_on_role, set_depends_on_role, bool;
        parallelModeNeeded: parallel_mode_needed, set_parallel_mode_needed, bool;
        planTree: plan_tree, set_plan_tree, Option<Plan>;
        rtable: rtable, set_rtable, List<RangeTblEntry>;
        relationOids: relation_oids, set_relation_oids, List<Oid>;
        invalItems: inval_items, set_inval_items, List<Node>;
        stmt_location: stmt_location, set_stmt_location, i32;
        stmt_len: stmt_len, set_stmt_len, i32;
    }
    Plan {
        startup_cost: startup_cost, set_startup_cost, f64;
        total_cost: total_cost, set_total_cost, f64;
        plan_rows: plan_rows, set_plan_rows, f64;
        targetlist: targetlist, set_targetlist, List<TargetEntry>;
    }
    CustomScan {
        custom_plans: custom_plans, set_custom_plans, List<Plan>;
        custom_exprs: custom_exprs, set_custom_exprs, List<Node>;
        custom_private: custom_private, set_custom_private, List<Node>;
        custom_scan_tlist: custom_scan_tlist, set_custom_scan_tlist, List<TargetEntry>;
        scan.scanrelid: scanrelid, set_scanrelid, u32;
        scan.plan.targetlist: targetlist, set_targetlist, List<TargetEntry>;
        scan.plan.qual: qual, set_qual, List<Node>;
        scan.plan.startup_cost: startup_cost, set_startup_cost, f64;
        scan.plan.total_cost: total_cost, set_total_cost, f64;
        scan.plan.plan_rows: plan_rows, set_plan_rows, f64;
    }
    ValuesScan {
        values_lists: values_lists, set_values_lists, List<Node>;
        scan.plan.total_cost: total_cost, set_total_cost, f64;
        scan.plan.plan_rows: plan_rows, set_plan_rows, f64;
    }
    RelOptInfo {
        relid: relid, set_relid, u32;
        rows: rows, set_rows, f64;
        tuples: tuples, set_tuples, f64;
        reltarget: reltarget, set_reltarget, Option<PathTarget>;
        baserestrictinfo: baserestrictinfo, set_baserestrictinfo, List<Node>;
    }
    PathTarget {
        exprs: exprs, set_exprs, List<Node>;
    }
    RestrictInfo {
        clause: clause, set_clause, Node;
        pseudoconstant: pseudoconstant, set_pseudoconstant, bool;
        security_level: security_level, set_security_level, u32;
        leakproof: leakproof, set_leakproof, bool;
    }
}
