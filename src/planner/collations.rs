//! Makes the collations of expressions visible. Folding turns COLLATE into a relabeling, which is printed
//! as the cast that it may be, too, or as nothing; and it drops COLLATE where the expression has that
//! collation already, though it decided over those beside it.

use super::presence;
use crate::pg::lookup;
use crate::pg::query::{CollateExpr, Kind, Node, Query, RelabelType, Visit};
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid, ParamKind};

/// Changes a query so that its text gives each expression the collation that it has here.
pub fn say(q: Query) {
    if q.node().contains(is_special) {
        q.mutate_parts(said);
    }
}

/// Whether an expression has a collation from which others could differ: where there is none such, all
/// have the default.
fn is_special(n: Node) -> bool {
    let plain = [Oid::INVALID, pg_sys::DEFAULT_COLLATION_OID];
    match n.kind() {
        Kind::Var(_)
        | Kind::Const(_)
        | Kind::Param(_)
        | Kind::RelabelType(_)
        | Kind::CollateExpr(_)
        | Kind::CoerceViaIO(_) => !plain.contains(&n.collation()),
        _ => false,
    }
}

/// An expression with a collation.
pub fn collated(e: Node, collation: Oid) -> Node {
    if matches!(e.kind(), Kind::CollateExpr(c) if c.coll_oid() == collation) {
        return e;
    }
    let c = CollateExpr::new();
    c.set_arg(e);
    c.set_coll_oid(collation);
    c.set_location(-1);
    c.node()
}

/// A value that a column gets, which nobody asks for its collation: one that nodes may not have is left out.
pub fn assigned(e: Node) -> Node {
    if presence::has_collation(e.collation()) {
        return e;
    }
    match e.kind() {
        // What assigns to a part of the column is no value of its own.
        Kind::Var(_) | Kind::Param(_) | Kind::SubscriptingRef(_) | Kind::FieldStore(_) => e,
        Kind::CollateExpr(c) => assigned(c.arg()),
        _ => {
            let r = RelabelType::new();
            r.set_arg(e);
            r.set_resulttype(e.typ());
            r.set_resulttypmod(e.typmod());
            r.set_resultcollid(lookup::type_collation(e.typ()));
            r.set_relabelformat(CoercionForm::COERCE_IMPLICIT_CAST);
            // Of a constant nothing else is left.
            r.node().eval_const()
        }
    }
}

/// The COLLATE that folding made a relabeling, with what it is of, which may be cast as well.
pub fn relabeled(r: RelabelType, arg: Node) -> Option<Node> {
    let collation = r.resultcollid();
    let own = match arg.collation() {
        Oid::INVALID => lookup::type_collation(r.resulttype()),
        own => own,
    };
    if collation == own || collation == Oid::INVALID {
        return None;
    }
    if r.resulttype() == arg.typ() {
        return Some(collated(arg, collation));
    }
    let cast = r.shallow_copy();
    cast.set_arg(arg);
    cast.set_resultcollid(own);
    cast.set_relabelformat(CoercionForm::COERCE_EXPLICIT_CAST);
    Some(collated(cast.node(), collation))
}

/// What takes the place of a part of a query, as [`Node::mutate`] asks.
fn said(n: Node) -> Option<Node> {
    match n.kind() {
        Kind::RelabelType(r) => {
            let arg = r.arg().mutate(said);
            relabeled(r, arg).or_else(|| {
                let c = r.shallow_copy();
                c.set_arg(arg);
                Some(c.node())
            })
        }
        _ if decides(n) => {
            let below = |x: Node| if x == n { None } else { said(x) };
            Some(agreed(n.mutate(below)))
        }
        _ => None,
    }
}

/// Whether the collations of its arguments decide what an expression does or has.
fn decides(n: Node) -> bool {
    let tags = [NodeTag::T_CaseExpr, NodeTag::T_CoalesceExpr, NodeTag::T_ArrayExpr];
    match n.kind() {
        Kind::Aggref(a) if a.aggkind() != b'n' => false,
        _ if tags.contains(&n.tag()) => n.collation() != Oid::INVALID,
        _ => n.input_collation() != Oid::INVALID,
    }
}

/// The arguments of an expression that have collations.
fn arguments(n: Node) -> Vec<Node> {
    let mut found = Vec::new();
    let mut add = |x: Node| {
        if x.is_some() && x.collation() != Oid::INVALID {
            found.push(x);
        }
    };
    if let Kind::CaseExpr(c) = n.kind() {
        c.args().iter().for_each(|w| add(w.result()));
        add(c.defresult());
        return found;
    }
    n.walk(|x| match x.kind() {
        _ if x == n => Visit::Descend,
        Kind::List(_) => Visit::Descend,
        Kind::TargetEntry(t) if !t.resjunk() => Visit::Descend,
        Kind::TargetEntry(_) | Kind::SortGroupClause(_) => Visit::Skip,
        _ => {
            add(x);
            Visit::Skip
        }
    });
    found
}

/// An expression whose arguments, as they will be read, have its collation together.
fn agreed(n: Node) -> Node {
    let args = arguments(n);
    let input = n.input_collation();
    let wanted = if input == Oid::INVALID { n.collation() } else { input };
    if args.is_empty() || common(&args) == Some(wanted) {
        return n;
    }
    if input == Oid::INVALID {
        return collated(n, wanted);
    }
    let others = |a: &&Node| is_explicit(**a) && a.collation() != wanted;
    let mut change: Vec<Node> = args.iter().filter(others).copied().collect();
    if change.is_empty() {
        // Rather what has the collation than what it was compared with.
        let free = || args.iter().copied().filter(|a| !is_placeholder(*a));
        let own = free().find(|a| a.collation() == wanted);
        change.extend(own.or_else(|| free().next()));
    }
    n.mutate(|x| match x {
        x if change.contains(&x) => Some(collated(x.copy(), wanted)),
        x if args.contains(&x) => Some(x.copy()),
        _ => None,
    })
}

/// The collation that PostgreSQL finds for what reads these arguments, if they do not contradict.
fn common(args: &[Node]) -> Option<Oid> {
    let agree = |all: Vec<Oid>| {
        let first = all.first().copied();
        first.filter(|f| all.iter().all(|c| c == f))
    };
    let explicit: Vec<Oid> =
        args.iter().filter(|a| is_explicit(**a)).map(|a| a.collation()).collect();
    if !explicit.is_empty() {
        return agree(explicit);
    }
    let implicit = args.iter().map(|a| a.collation());
    let special: Vec<Oid> = implicit.filter(|c| *c != pg_sys::DEFAULT_COLLATION_OID).collect();
    if special.is_empty() {
        return Some(pg_sys::DEFAULT_COLLATION_OID);
    }
    agree(special)
}

/// Whether the text of an expression says its collation: by COLLATE, also in what it is made of.
fn is_explicit(n: Node) -> bool {
    match n.kind() {
        Kind::CollateExpr(_) => true,
        // PostgreSQL prints the collation of a constant that is not its type's.
        Kind::Const(c) => n.collation() != lookup::type_collation(c.consttype()),
        Kind::None
        | Kind::Var(_)
        | Kind::Param(_)
        | Kind::SubLink(_)
        | Kind::FieldSelect(_)
        | Kind::Query(_) => false,
        Kind::RelabelType(r) => is_explicit(r.arg()),
        _ => arguments(n).into_iter().any(is_explicit),
    }
}

/// Whether an expression stands for what is printed elsewhere: the argument of CASE, the columns of a
/// sub-query.
fn is_placeholder(n: Node) -> bool {
    let stands = |p: ParamKind::Type| p == ParamKind::PARAM_SUBLINK;
    n.contains(|x| match x.kind() {
        Kind::Param(p) => stands(p.paramkind()),
        _ => x.tag() == NodeTag::T_CaseTestExpr,
    })
}
