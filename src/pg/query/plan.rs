//! Plans and what PostgreSQL's planner knows while it makes them.

use super::*;
use pgrx::pg_sys;

/// What PostgreSQL's planner knows of the query.
pub type PlannerInfo = Ref<pg_sys::PlannerInfo>;

/// The callbacks of a kind of plan node; they live as long as the process.
pub type Methods = &'static pg_sys::CustomScanMethods;

extern "C-unwind" {
    fn replace_nestloop_param_var(
        root: *mut pg_sys::PlannerInfo,
        var: *mut pg_sys::Var,
    ) -> *mut pg_sys::Param;
}

impl PlannerInfo {
    /// A condition as its scan meets it: columns of the relations on the outer side of nested
    /// loops around it, which LATERAL may bring, are parameters. PostgreSQL does this to what a
    /// custom scan checks here, only later.
    pub fn with_outer_values(self, condition: Node) -> Node {
        // SAFETY: the planner is making the plan of a scan: the outer relations are known.
        if unsafe { (*self.as_ptr()).curOuterRels.is_null() } {
            return condition;
        }
        // SAFETY: as above; a column of theirs is a valid node.
        let outer =
            |v: Var| unsafe { pg_sys::bms_is_member(v.varno(), (*self.as_ptr()).curOuterRels) };
        condition.mutate(|n| match n.kind() {
            Kind::Var(v) if outer(v) => {
                // SAFETY: as above.
                let param = unsafe {
                    Param::from_raw(replace_nestloop_param_var(self.as_ptr(), v.as_ptr()))
                };
                param.map(|p| p.node())
            }
            // Another node may evaluate the whole.
            Kind::Other(pg_sys::NodeTag::T_PlaceHolderVar) => Some(n),
            _ => None,
        })
    }

    /// Whether a scan may run once for each row of something around it: within a sub-query, or on
    /// the inner side of a nested loop that hands values in.
    pub fn may_run_again(self) -> bool {
        // SAFETY: the planner is making a plan.
        unsafe { (*self.as_ptr()).query_level > 1 || !(*self.as_ptr()).curOuterRels.is_null() }
    }

    /// Range table entry `rti` of the query.
    pub fn entry(self, rti: u32) -> Option<RangeTblEntry> {
        // SAFETY: the planner's array has an entry for each number below its size.
        unsafe {
            let root = self.as_ptr();
            let exists = (rti as i64) < i64::from((*root).simple_rel_array_size);
            exists
                .then(|| *(*root).simple_rte_array.add(rti as usize))
                .and_then(|rte| RangeTblEntry::from_raw(rte))
        }
    }
}

impl RelOptInfo {
    /// The expressions that the plan above wants of the relation.
    pub fn wanted(self) -> List<Node> {
        self.reltarget().map_or(List::EMPTY, |t| t.exprs())
    }
}

/// The conditions of a scan without the planner's notes about them; those that are decided
/// before the scan starts are left out.
pub fn actual_clauses(clauses: List<RestrictInfo>) -> List<Node> {
    // SAFETY: a valid list.
    unsafe { List::from_raw(pg_sys::extract_actual_clauses(clauses.as_ptr(), false)) }
}

impl CustomScan {
    /// The part that all plan nodes have.
    pub fn plan(self) -> Plan {
        Ref(self.0.cast())
    }

    /// Says what runs the node.
    pub fn set_methods(self, methods: Methods) {
        // SAFETY: a valid node.
        unsafe { (*self.as_ptr()).methods = methods }
    }

    /// Depends on the parameters that its only child depends on.
    pub fn take_params(self, child: Plan) {
        // SAFETY: valid nodes; sets are copied.
        unsafe {
            let plan = &raw mut (*self.as_ptr()).scan.plan;
            (*plan).extParam = pg_sys::bms_copy((*child.as_ptr()).extParam);
            (*plan).allParam = pg_sys::bms_copy((*child.as_ptr()).allParam);
        }
    }
}
