//! What PostgreSQL's own functions say about expressions and queries.

use super::*;
use crate::error::Result;
use crate::pg::value::Typed;
use crate::pg::{fmgr, guard, lookup, transmit};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{c_char, c_void};

extern "C-unwind" {
    fn pg_get_querydef(query: *mut pg_sys::Query, pretty: bool) -> *mut c_char;
    fn check_functions_in_node(
        node: *mut pg_sys::Node,
        checker: extern "C-unwind" fn(Oid, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
}

struct Functions<'a> {
    visit: &'a mut dyn FnMut(Oid),
}

extern "C-unwind" fn each_function(f: Oid, context: *mut c_void) -> bool {
    // SAFETY: `context` is the Functions of the running `functions` call.
    unsafe { ((*context.cast::<Functions>()).visit)(f) };
    false
}

/// Whether a node of this type may call functions itself. Planning asks this of every node, and
/// the most frequent types do not.
fn may_call(tag: NodeTag) -> bool {
    use NodeTag::*;
    !matches!(
        tag,
        T_Invalid
            | T_Var
            | T_Const
            | T_Param
            | T_BoolExpr
            | T_RelabelType
            | T_TargetEntry
            | T_List
            | T_Query
            | T_RangeTblEntry
            | T_RangeTblRef
            | T_FromExpr
            | T_JoinExpr
    )
}

impl Node {
    /// Type of an expression.
    pub fn typ(self) -> Oid {
        // SAFETY: null or a valid expression.
        unsafe { pg_sys::exprType(self.as_ptr()) }
    }

    /// Type modifier of an expression.
    pub fn typmod(self) -> i32 {
        // SAFETY: null or a valid expression.
        unsafe { pg_sys::exprTypmod(self.as_ptr()) }
    }

    /// Collation of an expression.
    pub fn collation(self) -> Oid {
        // SAFETY: null or a valid expression.
        unsafe { pg_sys::exprCollation(self.as_ptr()) }
    }

    /// The collation that an expression gives to its function; invalid for those without.
    pub fn input_collation(self) -> Oid {
        // SAFETY: null or a valid expression.
        unsafe { pg_sys::exprInputCollation(self.as_ptr()) }
    }

    /// The cursor of WHERE CURRENT OF: its name, or the number of the parameter that holds it.
    pub fn cursor(self) -> Option<(Option<String>, i32)> {
        if self.tag() != NodeTag::T_CurrentOfExpr {
            return None;
        }
        // SAFETY: a node of this type; the name is zero-terminated.
        unsafe {
            let c = self.as_ptr() as *mut pg_sys::CurrentOfExpr;
            let name = (*c).cursor_name;
            let name = (!name.is_null()).then(|| nodes::str_of(name));
            Some((name, (*c).cursor_param))
        }
    }

    /// Calls `visit` for the functions that the node itself calls.
    pub fn functions(self, visit: &mut dyn FnMut(Oid)) {
        if !may_call(self.tag()) {
            return;
        }
        let mut f = Functions { visit };
        let context = (&mut f as *mut Functions).cast();
        // SAFETY: a valid node; errors in the callback become panics.
        unsafe { guard::call(|| check_functions_in_node(self.as_ptr(), each_function, context)) };
    }

    /// The operator that the node itself is.
    pub fn operator(self) -> Option<Oid> {
        match self.kind() {
            Kind::OpExpr(o) => Some(o.opno()),
            Kind::ScalarArrayOpExpr(o) => Some(o.opno()),
            // SAFETY: nodes of these types are such structures.
            Kind::Other(NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr) => unsafe {
                Some((*self.as_ptr().cast::<pg_sys::OpExpr>()).opno)
            },
            _ => None,
        }
    }

    /// The expression with everything computed that is known.
    pub fn eval_const(self) -> Node {
        // SAFETY: null or a valid expression.
        unsafe { Node(pg_sys::eval_const_expressions(std::ptr::null_mut(), self.as_ptr())) }
    }

    /// Whether a function that is not leakproof is given columns.
    pub fn leaks(self) -> bool {
        // SAFETY: null or a valid expression; look-ups of functions.
        unsafe { guard::call(|| pg_sys::contain_leaked_vars(self.as_ptr())) }
    }

    /// Whether columns of a query so many levels up occur.
    pub fn has_vars_of_level(self, level: i32) -> bool {
        // SAFETY: null or a valid tree.
        unsafe { pg_sys::contain_vars_of_level(self.as_ptr(), level) }
    }

    /// Whether volatile functions are called.
    pub fn is_volatile(self) -> bool {
        // SAFETY: null or a valid tree.
        unsafe { pg_sys::contain_volatile_functions(self.as_ptr()) }
    }

    /// Moves references to queries at least `min` levels up by `delta` levels, in place.
    pub fn shift_levels(self, delta: i32, min: i32) {
        // SAFETY: null or a valid tree.
        unsafe { pg_sys::IncrementVarSublevelsUp(self.as_ptr(), delta, min) }
    }

    /// Looks up the functions of operators, in place, as the executor needs them.
    pub fn set_functions(self) {
        // SAFETY: null or a valid tree.
        unsafe { pg_sys::fix_opfuncids(self.as_ptr()) }
    }
}

impl OpExpr {
    /// Looks up the operator's function.
    pub fn set_function(self) {
        // SAFETY: a valid node.
        unsafe { pg_sys::set_opfuncid(self.as_ptr()) }
    }

    /// Both arguments, of an operator that has two.
    pub fn pair(self) -> Option<(Node, Node)> {
        let args = self.args();
        (args.len() == 2).then(|| (args.at(0), args.at(1)))
    }
}

// Nothing can be set in a constant: its value is of its type because `make` says both at once.
impl Const {
    /// Its type.
    pub fn consttype(self) -> Oid {
        // SAFETY: a valid node.
        unsafe { (*self.as_ptr()).consttype }
    }

    /// Whether it is NULL.
    pub fn constisnull(self) -> bool {
        // SAFETY: a valid node.
        unsafe { (*self.as_ptr()).constisnull }
    }

    /// The value; `None` for NULL.
    pub fn value(self) -> Option<Typed> {
        // SAFETY: a constant's value is of its type.
        (!self.constisnull())
            .then(|| unsafe { Typed::new(self.consttype(), (*self.as_ptr()).constvalue) })
    }

    /// An array constant with other elements; `None` when this is none.
    pub fn with_elements(self, elements: &[Typed]) -> Option<Const> {
        let element = lookup::element_type(self.consttype())?;
        if elements.iter().any(|e| e.typ() != element) {
            return None;
        }
        let mut values: Vec<_> = elements.iter().map(|e| e.datum()).collect();
        let copy = self.shallow_copy();
        // SAFETY: the value is of the constant's type.
        unsafe { (*copy.as_ptr()).constvalue = fmgr::array_of(element, &mut values) }
        Some(copy)
    }

    /// The value of a constant of type bigint.
    pub fn int8(self) -> Option<i64> {
        let fits = self.consttype() == pg_sys::INT8OID;
        self.value().filter(|_| fits).map(|v| v.datum().value() as i64)
    }

    /// The value of a constant of type oid.
    pub fn oid(self) -> Option<Oid> {
        let fits = self.consttype() == pg_sys::OIDOID;
        self.value().filter(|_| fits).map(|v| Oid::from(v.datum().value() as u32))
    }
}

impl SortGroupClause {
    /// The expression that a clause of a query is about.
    pub fn expr(self, outputs: List<TargetEntry>) -> Node {
        // SAFETY: valid nodes; a clause without its column raises an error.
        unsafe { Node(pg_sys::get_sortgroupclause_expr(self.as_ptr(), outputs.as_ptr())) }
    }

    /// Grouping by a type's default equality; `None` for types without.
    pub fn for_type(typ: Oid) -> Option<SortGroupClause> {
        let (mut lt, mut eq, mut gt) = (Oid::INVALID, Oid::INVALID, Oid::INVALID);
        let mut hashable = false;
        // SAFETY: a look-up in the type cache.
        unsafe {
            pg_sys::get_sort_group_operators(
                typ,
                false,
                false,
                false,
                &mut lt,
                &mut eq,
                &mut gt,
                &mut hashable,
            );
        }
        if eq == Oid::INVALID {
            return None;
        }
        let c = SortGroupClause::new();
        c.set_eqop(eq);
        c.set_sortop(lt);
        c.set_hashable(hashable);
        Some(c)
    }
}

impl Query {
    /// Range table entry `rti` (one-based).
    pub fn entry(self, rti: u32) -> Option<RangeTblEntry> {
        self.rtable().get((rti as usize).checked_sub(1)?)
    }

    /// The entry of the table that is modified.
    pub fn target(self) -> Option<RangeTblEntry> {
        self.entry(self.result_relation() as u32)
    }

    /// WHERE.
    pub fn quals(self) -> Node {
        self.jointree().map_or(Node::NONE, |f| f.quals())
    }

    /// Sets WHERE; of a query that has a FROM clause.
    pub fn set_quals(self, quals: Node) {
        if let Some(f) = self.jointree() {
            f.set_quals(quals);
        }
    }

    /// The FROM items.
    pub fn from_items(self) -> List<Node> {
        self.jointree().map_or(List::EMPTY, |f| f.fromlist())
    }
}

/// Text of a query with every name qualified, those of pg_catalog too.
///
/// The node that reads it has the user's search path, in which somebody may have put a function or
/// an operator that fits the arguments better than the one meant: `format(text, varchar)` is no
/// match for `format(text, VARIADIC "any")` where the name alone decides. So the path is empty
/// here, and nothing is visible without its schema.
pub fn query_text(q: Query) -> Result<String> {
    // SAFETY: an error unwinds past the pop; the end of the (sub)transaction pops by itself.
    unsafe {
        let mut path = pg_sys::OverrideSearchPath {
            schemas: std::ptr::null_mut(),
            addCatalog: false,
            addTemp: false,
            generation: 0,
        };
        pg_sys::PushOverrideSearchPath(&mut path);
        let text = transmit::transmit(|| {
            let c = guard::call(|| pg_get_querydef(q.as_ptr(), false));
            Ok(crate::pg::nodes::str_of(c))
        })?;
        pg_sys::PopOverrideSearchPath();
        Ok(text)
    }
}

impl RangeTblEntry {
    /// The names of its columns, and variables for them as those of entry `rti`.
    pub fn columns(self, rti: i32) -> (List<Node>, List<Node>) {
        let (mut names, mut vars) = (std::ptr::null_mut(), std::ptr::null_mut());
        let (out_names, out_vars): (*mut _, *mut _) = (&mut names, &mut vars);
        // SAFETY: a valid node; the lists are new.
        unsafe {
            guard::call(|| {
                pg_sys::expandRTE(self.as_ptr(), rti, 0, -1, false, out_names, out_vars)
            });
            (List::from_raw(names), List::from_raw(vars))
        }
    }

    /// Whether the statement assigns to a column of this table, as far as rights are concerned.
    pub fn updates(self, attno: i16) -> bool {
        let member = i32::from(attno) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: a valid node's set.
        unsafe { pg_sys::bms_is_member(member, (*self.as_ptr()).updatedCols) }
    }
}
