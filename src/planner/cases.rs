//! CASE with an argument of which folding has changed conditions. PostgreSQL's printer writes of each
//! `argument = value` the value; of `argument = true` only the argument is left, which has no text there.

use crate::pg::lookup;
use crate::pg::query::{self, CaseExpr, CaseWhen, Kind, List, Node, Query};
use pgrx::pg_sys::{self, BoolExprType, CoercionForm, NodeTag, Oid};

/// Changes a query so that each CASE in it is printed as what it is.
pub fn say(q: Query) {
    if q.node().contains(|n| n.cast::<CaseExpr>().is_some_and(is_changed)) {
        q.mutate_parts(said);
    }
}

/// Whether the text of a CASE would compute an argument more than once that may differ each time.
pub fn repeats(c: CaseExpr) -> bool {
    let lost = |w: CaseWhen| !is_comparison(compared(w.expr()));
    is_changed(c) && c.args().iter().any(lost) && c.arg().is_volatile()
}

/// Whether a condition of a CASE with an argument is not a comparison with that any more.
fn is_changed(c: CaseExpr) -> bool {
    c.arg().is_some() && !c.args().iter().all(|w| is_comparison(w.expr()))
}

/// What takes the place of a part of a query, as [`Node::mutate`] asks.
fn said(n: Node) -> Option<Node> {
    let changed = n.cast::<CaseExpr>().filter(|c| is_changed(*c))?;
    let below = |x: Node| if x == n { None } else { said(x) };
    let case = changed.node().mutate(below).cast::<CaseExpr>()?;
    case.args().iter().for_each(|w| w.set_expr(compared(w.expr())));
    if is_changed(case) {
        let arg = case.arg();
        case.args().iter().for_each(|w| w.set_expr(with_argument(w.expr(), arg)));
        case.set_arg(Node::NONE);
    }
    Some(case.node())
}

/// Whether a condition is printed as the value that the argument is compared with.
fn is_comparison(e: Node) -> bool {
    let Kind::OpExpr(op) = e.kind() else { return false };
    let Some((a, b)) = op.pair() else { return false };
    is_argument(a) && !b.contains(is_test) && lookup::operator_name(op.opno()) == "="
}

fn is_test(n: Node) -> bool {
    n.tag() == NodeTag::T_CaseTestExpr
}

/// Whether an expression is the argument, maybe of another type by a cast that nobody wrote.
fn is_argument(e: Node) -> bool {
    let hidden = |f| f == CoercionForm::COERCE_IMPLICIT_CAST;
    match e.kind() {
        Kind::RelabelType(r) if hidden(r.relabelformat()) => is_argument(r.arg()),
        Kind::FuncExpr(f) if hidden(f.funcformat()) => is_argument(f.args().at(0)),
        Kind::CoerceViaIO(c) if hidden(c.coerceformat()) => is_argument(c.arg()),
        Kind::ArrayCoerceExpr(c) if hidden(c.coerceformat()) => is_argument(c.arg()),
        _ => is_test(e),
    }
}

/// The comparison that a condition was which is the argument itself, or its opposite.
fn compared(e: Node) -> Node {
    let (argument, value) = match e.kind() {
        Kind::BoolExpr(b) if b.boolop() == BoolExprType::NOT_EXPR => (b.args().at(0), false),
        _ => (e, true),
    };
    if argument.typ() != pg_sys::BOOLOID || !is_argument(argument) {
        return e;
    }
    let args = List::from([argument, query::boolean(value)]);
    query::operator(Oid::from(pg_sys::BooleanEqualOperator), pg_sys::BOOLOID, args)
}

/// A condition with the argument itself where it stands for it. What another CASE or a cast of arrays
/// stands for is their own.
fn with_argument(e: Node, arg: Node) -> Node {
    e.mutate(|x| match x.kind() {
        Kind::CaseExpr(c) if c.arg().is_some() => {
            let own = c.copy();
            own.set_arg(with_argument(c.arg(), arg));
            Some(own.node())
        }
        Kind::ArrayCoerceExpr(c) => {
            let own = c.copy();
            own.set_arg(with_argument(c.arg(), arg));
            Some(own.node())
        }
        _ => is_test(x).then(|| arg.copy()),
    })
}
