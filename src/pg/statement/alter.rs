//! ALTER TABLE and the constraints of CREATE TABLE.

use super::{opt_text, options, role, strings, Name, Option_};
use crate::error::Result;
use crate::pg::fmgr::quote_ident;
use crate::pg::query::{Kind, Node};
use crate::pg::transmit::transmit;
use crate::pg::tree::{items, text, Tree};
use crate::pg::{guard, nodes, spi};
use pgrx::pg_sys::{self, AlterTableType, NodeTag, Oid};
use std::ffi::{c_char, c_void};
use std::ptr;

/// The USING expression of a change of type.
pub struct Using {
    /// As text that means the same everywhere, with what is constant computed.
    pub text: String,
    /// Nodes may compute different values for the same row.
    pub differs: bool,
}

/// A constraint as a statement writes it.
#[derive(Clone, Debug)]
pub struct ConstraintView {
    /// Kind.
    pub kind: pg_sys::ConstrType::Type,
    /// Name, if written.
    pub name: Option<String>,
    /// `USING INDEX`.
    pub index: Option<String>,
    /// DEFERRABLE
    pub deferrable: bool,
    /// INITIALLY DEFERRED
    pub deferred: bool,
    /// Referenced table of a foreign key.
    pub referenced: Option<Name>,
}

/// One command of ALTER TABLE.
#[derive(Clone, Copy)]
pub struct AlterCommand(*mut pg_sys::AlterTableCmd);

impl Tree {
    /// The commands of an ALTER TABLE.
    pub fn alter_commands(self) -> Vec<AlterCommand> {
        if !self.is(NodeTag::T_AlterTableStmt) {
            return Vec::new();
        }
        // SAFETY: the tag was checked.
        unsafe {
            items((*(self.0 as *mut pg_sys::AlterTableStmt)).cmds)
                .into_iter()
                .map(|c| AlterCommand(c as *mut pg_sys::AlterTableCmd))
                .collect()
        }
    }

    /// The lock that an ALTER TABLE takes.
    pub fn alter_lock(self) -> u32 {
        if !self.is(NodeTag::T_AlterTableStmt) {
            return pg_sys::AccessExclusiveLock;
        }
        // SAFETY: the tag was checked; the function reads the commands.
        unsafe {
            let commands = (*(self.0 as *mut pg_sys::AlterTableStmt)).cmds;
            crate::pg::guard::call(|| pg_sys::AlterTableGetLockLevel(commands)) as u32
        }
    }

    /// The type that a CREATE TYPE or CREATE DOMAIN makes, as SQL writes its name, and whether it is
    /// a domain.
    pub fn created_type(self) -> Option<(String, bool)> {
        // SAFETY: the tag says which structure it is.
        let (parts, is_domain) = unsafe {
            match self.tag() {
                NodeTag::T_CreateEnumStmt => {
                    (strings((*(self.0 as *mut pg_sys::CreateEnumStmt)).typeName), false)
                }
                NodeTag::T_CreateRangeStmt => {
                    (strings((*(self.0 as *mut pg_sys::CreateRangeStmt)).typeName), false)
                }
                NodeTag::T_CreateDomainStmt => {
                    (strings((*(self.0 as *mut pg_sys::CreateDomainStmt)).domainname), true)
                }
                NodeTag::T_CompositeTypeStmt => {
                    let v = (*(self.0 as *mut pg_sys::CompositeTypeStmt)).typevar;
                    let schema = opt_text((*v).schemaname);
                    (schema.into_iter().chain([text((*v).relname)]).collect(), false)
                }
                _ => return None,
            }
        };
        let quoted: Vec<String> = parts.iter().map(|p| quote_ident(p)).collect();
        Some((quoted.join("."), is_domain))
    }

    /// Whether it makes, drops or gives away a function, or rights on it.
    pub fn is_about_function(self) -> bool {
        let is_function = |kind| kind == pg_sys::ObjectType::OBJECT_FUNCTION;
        match self.tag() {
            NodeTag::T_CreateFunctionStmt => true,
            NodeTag::T_DropStmt => self.drop_kind().is_some_and(is_function),
            NodeTag::T_GrantStmt => self.grant().is_some_and(|g| is_function(g.objects)),
            _ => self.given_away().is_some_and(is_function),
        }
    }

    /// The kind of object of which ALTER ... OWNER TO changes the owner.
    pub fn given_away(self) -> Option<pg_sys::ObjectType::Type> {
        let given = self.is(NodeTag::T_AlterOwnerStmt);
        // SAFETY: the tag was checked.
        given.then(|| unsafe { (*(self.0 as *mut pg_sys::AlterOwnerStmt)).objectType })
    }

    /// Tables that an ALTER TABLE makes part of the same inheritance: the partitions that it
    /// attaches, and the parents that it adds.
    pub fn related_tables(self) -> Vec<Name> {
        let mut found = Vec::new();
        for c in self.alter_commands() {
            // SAFETY: the subtype says what the definition is.
            let name = unsafe {
                match (*c.0).subtype {
                    AlterTableType::AT_AttachPartition => {
                        (*((*c.0).def as *mut pg_sys::PartitionCmd)).name
                    }
                    AlterTableType::AT_AddInherit => (*c.0).def as *mut pg_sys::RangeVar,
                    _ => continue,
                }
            };
            if !name.is_null() {
                found.push(Name(name));
            }
        }
        found
    }

    /// Takes the foreign keys that an ALTER TABLE adds as fulfilled, for a table that has its rows
    /// elsewhere, where they are checked. Changes the statement.
    pub fn trust_new_keys(self) {
        for c in self.alter_commands() {
            use AlterTableType::{AT_AddColumn, AT_AddConstraint};
            // SAFETY: the subtype says that the definition is a constraint or a column.
            unsafe {
                if [AT_AddColumn, AT_AddConstraint].contains(&(*c.0).subtype) {
                    trust((*c.0).def);
                }
            }
        }
    }

    /// Foreign keys that a CREATE TABLE or ALTER TABLE writes: the referenced tables.
    pub fn referenced_tables(self) -> Vec<Name> {
        let mut found = Vec::new();
        // SAFETY: the tag says which structure it is.
        unsafe {
            if self.is(NodeTag::T_CreateStmt) {
                for e in items((*(self.0 as *mut pg_sys::CreateStmt)).tableElts) {
                    references(e as *mut pg_sys::Node, &mut found);
                }
            }
            for c in self.alter_commands() {
                use AlterTableType::{AT_AddColumn, AT_AddConstraint};
                if [AT_AddColumn, AT_AddConstraint].contains(&(*c.0).subtype) {
                    references((*c.0).def, &mut found);
                }
            }
        }
        found
    }
}

unsafe fn trust(node: *mut pg_sys::Node) {
    if node.is_null() {
        return;
    }
    // SAFETY: the tag says which structure it is.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Constraint => {
                let constraint = node as *mut pg_sys::Constraint;
                // What is NOT VALID stays so.
                let checks = !(*constraint).skip_validation;
                if (*constraint).contype == pg_sys::ConstrType::CONSTR_FOREIGN && checks {
                    (*constraint).skip_validation = true;
                    (*constraint).initially_valid = true;
                }
            }
            NodeTag::T_ColumnDef => {
                for c in items((*(node as *mut pg_sys::ColumnDef)).constraints) {
                    trust(c as *mut pg_sys::Node);
                }
            }
            _ => {}
        }
    }
}

unsafe fn references(node: *mut pg_sys::Node, found: &mut Vec<Name>) {
    if node.is_null() {
        return;
    }
    // SAFETY: the tag says which structure it is.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Constraint => {
                let table = (*(node as *mut pg_sys::Constraint)).pktable;
                if !table.is_null() {
                    found.push(Name(table));
                }
            }
            NodeTag::T_ColumnDef => {
                for c in items((*(node as *mut pg_sys::ColumnDef)).constraints) {
                    references(c as *mut pg_sys::Node, found);
                }
            }
            _ => {}
        }
    }
}

impl AlterCommand {
    /// The kind of command.
    pub fn kind(self) -> AlterTableType::Type {
        // SAFETY: a valid AlterTableCmd.
        unsafe { (*self.0).subtype }
    }

    /// Column, constraint, trigger or other object.
    pub fn name(self) -> String {
        // SAFETY: a valid AlterTableCmd.
        unsafe { text((*self.0).name) }
    }

    /// Column number, where an index' column is named by it.
    pub fn number(self) -> i16 {
        // SAFETY: a valid AlterTableCmd.
        unsafe { (*self.0).num }
    }

    /// Name of the new owner.
    pub fn owner(self) -> Option<String> {
        // SAFETY: a valid AlterTableCmd.
        unsafe {
            if (*self.0).newowner.is_null() {
                return None;
            }
            role((*self.0).newowner)
        }
    }

    fn def_tag(self) -> Option<NodeTag> {
        // SAFETY: a valid AlterTableCmd.
        unsafe {
            let def = (*self.0).def;
            (!def.is_null()).then(|| (*def).type_)
        }
    }

    /// Options of SET and RESET.
    pub fn options(self) -> Vec<Option_> {
        if self.def_tag() != Some(NodeTag::T_List) {
            return Vec::new();
        }
        // SAFETY: the tag was checked.
        unsafe { options((*self.0).def as *mut pg_sys::List) }
    }

    /// The value of SET STATISTICS, SET STORAGE, SET COMPRESSION.
    pub fn value(self) -> Option<String> {
        // SAFETY: the tag is checked.
        unsafe {
            match self.def_tag()? {
                NodeTag::T_Integer => {
                    Some((*((*self.0).def as *mut pg_sys::Integer)).ival.to_string())
                }
                NodeTag::T_String => Some(text((*((*self.0).def as *mut pg_sys::String)).sval)),
                _ => None,
            }
        }
    }

    /// The constraint that is added or altered.
    pub fn constraint(self) -> Option<ConstraintView> {
        if self.def_tag()? != NodeTag::T_Constraint {
            return None;
        }
        // SAFETY: the tag was checked.
        unsafe {
            let c = (*self.0).def as *mut pg_sys::Constraint;
            Some(ConstraintView {
                kind: (*c).contype,
                name: opt_text((*c).conname),
                index: opt_text((*c).indexname),
                deferrable: (*c).deferrable,
                deferred: (*c).initdeferred,
                referenced: (!(*c).pktable.is_null()).then_some(Name((*c).pktable)),
            })
        }
    }

    /// REPLICA IDENTITY: its kind and index.
    pub fn replica_identity(self) -> Option<(u8, Option<String>)> {
        if self.def_tag()? != NodeTag::T_ReplicaIdentityStmt {
            return None;
        }
        // SAFETY: the tag was checked.
        unsafe {
            let r = (*self.0).def as *mut pg_sys::ReplicaIdentityStmt;
            Some(((*r).identity_type as u8, opt_text((*r).name)))
        }
    }

    /// The USING expression of a change of type. To be asked before the type changes.
    pub fn using_expression(self, relid: Oid) -> Result<Option<Using>> {
        if self.def_tag() != Some(NodeTag::T_ColumnDef) {
            return Ok(None);
        }
        // SAFETY: the tag was checked; the expression is analyzed as the server itself does it.
        unsafe {
            let raw = (*((*self.0).def as *mut pg_sys::ColumnDef)).raw_default;
            if raw.is_null() {
                return Ok(None);
            }
            let mut expr = guard::call(|| analyze_using(relid, raw));
            // Arguments that the statement leaves out count, too.
            let whole = guard::call(|| pg_sys::eval_const_expressions(ptr::null_mut(), expr));
            let mut differs = false;
            if guard::call(|| pg_sys::contain_mutable_functions(whole)) {
                // now() is the same in all rows.
                expr = guard::call(|| with_values(expr));
                differs = Node::from_raw(expr).contains(computes_differently);
            }
            let print = || {
                Ok(text(guard::call(|| {
                    let name = pg_sys::get_rel_name(relid);
                    let context = pg_sys::deparse_context_for(name, relid);
                    pg_sys::deparse_expression(expr, context, false, false)
                })))
            };
            Ok(Some(Using { text: spi::pinned(|| transmit(print))?, differs }))
        }
    }
}

/// The expression with values in the place of stable functions of constants.
unsafe fn with_values(expr: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: called within guard::call; all that the function reads of a planner's state is that
    // there are no parameters.
    unsafe {
        let glob = nodes::make::<pg_sys::PlannerGlobal>(NodeTag::T_PlannerGlobal);
        let root = nodes::make::<pg_sys::PlannerInfo>(NodeTag::T_PlannerInfo);
        (*root).glob = glob;
        pg_sys::estimate_expression_value(root, expr)
    }
}

fn is_builtin(o: Oid) -> bool {
    u32::from(o) < pg_sys::FirstUnpinnedObjectId
}

/// Whether the node itself calls what may answer differently elsewhere. Casts and operators that come
/// with the server depend on settings only, which other nodes follow.
fn computes_differently(n: Node) -> bool {
    let mut worst = pg_sys::PROVOLATILE_IMMUTABLE as c_char;
    // SAFETY: OIDs of functions in a valid tree.
    n.functions(&mut |f| unsafe {
        let v = guard::call(|| pg_sys::func_volatile(f));
        if v == pg_sys::PROVOLATILE_VOLATILE as c_char
            || worst == pg_sys::PROVOLATILE_IMMUTABLE as c_char
        {
            worst = v;
        }
    });
    if n.tag() == NodeTag::T_NextValueExpr {
        return true;
    }
    let is_cast = n.tag() == NodeTag::T_CoerceViaIO
        || matches!(n.kind(), Kind::FuncExpr(f) if is_builtin(f.funcid())
            && f.funcformat() != pg_sys::CoercionForm::COERCE_EXPLICIT_CALL)
        || n.operator().is_some_and(is_builtin);
    match worst as u8 {
        pg_sys::PROVOLATILE_IMMUTABLE => false,
        pg_sys::PROVOLATILE_STABLE => !is_cast,
        _ => true,
    }
}

unsafe fn analyze_using(relid: Oid, raw: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: called within guard::call; what is opened is closed.
    unsafe {
        let rel = pg_sys::relation_open(relid, pg_sys::AccessShareLock as i32);
        let pstate = pg_sys::make_parsestate(std::ptr::null_mut());
        let item = pg_sys::addRangeTableEntryForRelation(
            pstate,
            rel,
            pg_sys::AccessShareLock as i32,
            std::ptr::null_mut(),
            false,
            true,
        );
        pg_sys::addNSItemToQuery(pstate, item, false, true, true);
        let copy = pg_sys::copyObjectImpl(raw as *const c_void) as *mut pg_sys::Node;
        let expr = pg_sys::transformExpr(
            pstate,
            copy,
            pg_sys::ParseExprKind::EXPR_KIND_ALTER_COL_TRANSFORM,
        );
        pg_sys::assign_expr_collations(pstate, expr);
        pg_sys::relation_close(rel, pg_sys::NoLock as i32);
        expr
    }
}
