//! From a query tree to a template: PostgreSQL deparses, we only mark the places of shard names.

use super::values::Values;
use super::{collations, lists, printable, ship};
use crate::catalog;
use crate::error::{sqlstate, Error, Result};
use crate::pg::query::{
    self, CoerceViaIO, Kind, List, Node, Param, Query, RangeTblEntry, TargetEntry, Visit,
};
use crate::pg::transmit::plain_names;
use crate::pg::{column, lookup};
use crate::plan::{CheckAs, ParamSpec, Piece, Template};
use pgrx::pg_sys::{self, CoercionForm, NodeTag, Oid, ParamKind, RTEKind};
use std::cell::Cell;
use std::collections::HashMap;

/// A deparsed statement.
pub struct Deparsed {
    /// The text with slots.
    pub template: Template,
    /// Tables of the slots.
    pub tables: Vec<u32>,
    /// Types of the parameters.
    pub params: Vec<ParamSpec>,
    /// Tables that are checked as the owner of a view or rule.
    pub check_as: Vec<CheckAs>,
}

/// Deparses a query (which is modified) whose distributed and reference tables become slots and
/// whose outside values become parameters, numbered as in `values`.
pub fn deparse(q: Query, values: &mut Values) -> Result<Deparsed> {
    plain_names(|| deparsed(q, values))
}

fn deparsed(q: Query, values: &mut Values) -> Result<Deparsed> {
    parametrize(q, values)?;
    rename_excluded(q);
    printable::prepare(q);
    let mut tables = Vec::new();
    let (mut slots, mut check_as) = (Vec::new(), Vec::new());
    mark_tables(q, &mut tables, &mut slots, &mut check_as);
    let lists = lists::parameters(q);
    let choices = lists::mark(q);
    let text = text(q)?;
    let mut template = cut(&text, &slots)?;
    lists::cut(&mut template, &choices)?;
    // A message that binds values counts them with 16 bits.
    if values.exprs().len() > usize::from(u16::MAX) {
        let message = format!("the statement needs {} parameters on nodes", values.exprs().len());
        return Err(Error::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
            .detail("Its own parameters and functions such as now() together may be at most 65535.")
            .hint("Pass arrays instead of single values."));
    }
    let numbered = values.exprs().iter().zip(1..);
    let params = numbered.map(|(e, n)| param_spec(e.typ(), lists.contains(&n))).collect();
    Ok(Deparsed { template, tables, params, check_as })
}

/// The text of a query. PostgreSQL leaves the names of tables away where there is only one, and then
/// ORDER BY could mean an output of the same name as the column; and it prints nothing but VALUES where
/// the outputs have the names of its columns. With one more entry it does neither.
fn text(q: Query) -> Result<String> {
    let entries = q.rtable();
    let only = entries.get(0).filter(|_| entries.len() == 1);
    if !only.is_some_and(|e| sorts_by_taken_name(q, e)) && !mixes_values(q) {
        return query::query_text(q);
    }
    let other = query::from_item(RTEKind::RTE_RESULT);
    other.set_eref(Some(query::alias("nothing", List::EMPTY)));
    q.set_rtable(entries.iter().chain([other]).collect());
    let text = query::query_text(q);
    q.set_rtable(entries);
    text
}

/// Whether a query reads VALUES, and its outputs are not their columns in this order. (In the new rows
/// of an INSERT they stand in the order of the table.)
fn mixes_values(q: Query) -> bool {
    let values = |e: RangeTblEntry| e.rtekind() == RTEKind::RTE_VALUES;
    let in_place = |(i, t): (usize, TargetEntry)| match t.expr().kind() {
        Kind::Var(v) => usize::try_from(v.varattno()) == Ok(i + 1),
        _ => false,
    };
    q.rtable().iter().any(values) && !q.target_list().iter().enumerate().all(in_place)
}

/// Whether a query sorts, and an output that is something else has the name of a column.
fn sorts_by_taken_name(q: Query, only: RangeTblEntry) -> bool {
    if q.sort_clause().is_empty() && q.distinct_clause().is_empty() {
        return false;
    }
    let columns = only.eref().map_or(List::EMPTY, |e| e.colnames());
    let by_column = q.target_list().iter().any(|t| {
        t.ressortgroupref() != 0 && matches!(t.expr().kind(), Kind::Var(v) if v.varlevelsup() == 0)
    });
    q.target_list().iter().any(|t| {
        let name = t.resname();
        if name.is_none() {
            return by_column && gets_a_name(t.expr());
        }
        let name = query::string(&name.to_string());
        let at = match t.expr().kind() {
            Kind::Var(v) if v.varlevelsup() == 0 => usize::try_from(v.varattno()).unwrap_or(0),
            _ => 0,
        };
        columns.iter().enumerate().any(|(i, c)| i + 1 != at && c.equals(name))
    })
}

/// Whether the node may call an output that has no name in the text as something in it is called: a cast
/// of a column like the column, a CASE like its ELSE, a call like the function.
fn gets_a_name(e: Node) -> bool {
    !matches!(
        e.kind(),
        Kind::Var(_)
            | Kind::Const(_)
            | Kind::OpExpr(_)
            | Kind::BoolExpr(_)
            | Kind::NullTest(_)
            | Kind::ScalarArrayOpExpr(_)
    )
}

fn param_spec(typ: Oid, list: bool) -> ParamSpec {
    let remote = if ship::is_plain_type(typ) { typ } else { pg_sys::TEXTOID };
    ParamSpec { typ: u32::from(typ), remote: u32::from(remote), list }
}

/// Marker of one FROM item.
pub struct Slot {
    name: String,
    token: String,
    alias: String,
    piece: Piece,
}

/// What tokens begin with.
const TOKEN: &str = "citus_";
/// The same where they are constants.
pub const QUOTED_TOKEN: &str = "'citus_";

thread_local! { static TOKENS: Cell<u64> = const { Cell::new(0) }; }

/// A word that occurs nowhere else in the statement.
pub fn token() -> String {
    let n = TOKENS.with(|t| {
        t.set(t.get().wrapping_add(1));
        t.get()
    });
    format!("{TOKEN}{n:x}_{:x}_", std::process::id())
}

/// The token that a text begins with.
fn token_of(text: &str) -> Option<&str> {
    let hex = |s: &str| s.bytes().take_while(u8::is_ascii_hexdigit).count();
    let first = TOKEN.len() + hex(text.strip_prefix(TOKEN)?);
    let rest = text.get(first..)?.strip_prefix('_')?;
    let end = first + 1 + hex(rest) + 1;
    text.get(..end).filter(|t| t.ends_with('_'))
}

fn mark_tables(
    q: Query,
    tables: &mut Vec<u32>,
    slots: &mut Vec<Slot>,
    check_as: &mut Vec<CheckAs>,
) {
    let mut entries: Vec<RangeTblEntry> = Vec::new();
    let mut names = Names::default();
    q.walk(|n| {
        if let Kind::RangeTblEntry(rte) = n.kind() {
            if let Some(eref) = rte.eref() {
                names.take(eref.aliasname().to_string());
            }
            if rte.rtekind() == RTEKind::RTE_RELATION {
                entries.push(rte);
            }
        }
        Visit::Descend
    });
    for rte in entries {
        if catalog::table(rte.relid()).is_none() || is_view_reference(rte) {
            continue;
        }
        let relid = u32::from(rte.relid());
        let number = match tables.iter().position(|t| *t == relid) {
            Some(i) => i,
            None => {
                tables.push(relid);
                tables.len() - 1
            }
        };
        let token = token();
        // The name is read before it is replaced.
        let colnames = rte.alias().map_or(List::EMPTY, |a| a.colnames());
        rte.set_alias(Some(query::alias(&token, colnames)));
        // Inheritance was settled when the shards were made: a shard has no children of its own
        // that the shell's ONLY would not name, too.
        let alias = alias(rte, &mut names);
        let table = number as u32;
        let piece = Piece::Table(table);
        let quoted = crate::pg::fmgr::quote_ident(&alias);
        slots.push(Slot { name: relation_name(rte), token, alias: quoted, piece });
        let role = u32::from(rte.check_as_user());
        check_as.push(CheckAs { table, alias, role });
    }
}

/// An INSERT through a view has two entries called "excluded", the view's and its table's. The text
/// can call only the one that counts by this name.
fn rename_excluded(q: Query) {
    let Some(counts) = q.on_conflict().and_then(|c| q.entry(c.excl_rel_index() as u32)) else {
        return;
    };
    let name = |rte: RangeTblEntry| rte.eref().map(|e| e.aliasname().to_string());
    for rte in q.rtable().iter().filter(|r| *r != counts && name(*r) == name(counts)) {
        rte.set_alias(Some(query::alias(&token(), List::EMPTY)));
    }
}

/// Bytes of an alias that get a number behind them; PostgreSQL's limit is 63 with it.
const MAX_ALIAS: usize = 52;

/// The names of what a statement reads. Generated statements have thousands of them.
#[derive(Default)]
struct Names {
    /// How many have a name.
    taken: HashMap<String, usize>,
    /// The number that was last put behind a name.
    numbers: HashMap<String, usize>,
}

impl Names {
    fn take(&mut self, name: String) {
        *self.taken.entry(name).or_default() += 1;
    }

    /// A name that nothing has yet: this one with a number.
    fn unique(&mut self, name: &str) -> String {
        // A name beyond PostgreSQL's limit would be cut by the node, and then be another's, too.
        let mut cut = name.len().min(MAX_ALIAS);
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        let stem = name.get(..cut).unwrap_or_default();
        let number = self.numbers.entry(stem.to_owned()).or_default();
        loop {
            *number += 1;
            let found = format!("{stem}_{number}");
            if !self.taken.contains_key(&found) {
                self.taken.insert(found.clone(), 1);
                return found;
            }
        }
    }
}

/// The name by which the statement calls a table: the user's where it is the only one of its
/// kind, so that the node's EXPLAIN and messages read as usual.
fn alias(rte: RangeTblEntry, names: &mut Names) -> String {
    let own = rte.eref().map_or_else(String::new, |e| e.aliasname().to_string());
    match names.taken.get(&own) {
        Some(2..) => names.unique(&own),
        _ => own,
    }
}

/// OLD and NEW entries that views leave in the range table, and EXCLUDED, are not FROM items.
fn is_view_reference(rte: RangeTblEntry) -> bool {
    matches!(rte.relkind(), b'v' | b'c')
}

fn relation_name(rte: RangeTblEntry) -> String {
    let (schema, name) = lookup::relation_names(rte.relid());
    crate::pg::fmgr::qualified(&schema, &name)
}

/// Cuts the text where each `schema.table token` stands, and gives the tokens, which stay as
/// aliases, readable names.
fn cut(text: &str, slots: &[Slot]) -> Result<Template> {
    let by_token: HashMap<&str, &Slot> = slots.iter().map(|s| (s.token.as_str(), s)).collect();
    // Tokens that were seen, and whether behind the table's name. Entries that nothing refers to (the
    // target of an INSERT taken as a query) are not printed; where an output with a sub-query is sorted
    // by, its tables are printed again.
    let mut seen: HashMap<&str, bool> = HashMap::new();
    let (mut pieces, mut part, mut from) = (Vec::new(), String::new(), 0);
    for (start, _) in text.match_indices(TOKEN) {
        let Some(token) = text.get(start..).and_then(token_of) else { continue };
        let Some(slot) = by_token.get(token) else { continue };
        let before = text.get(from..start).unwrap_or_default();
        let is_place = seen.entry(token).or_default();
        if let Some((rest, separator)) = behind_name(before, &slot.name) {
            part.push_str(rest);
            pieces.push(Piece::Text(std::mem::take(&mut part)));
            pieces.push(slot.piece.clone());
            part.push_str(separator);
            *is_place = true;
        } else {
            part.push_str(before);
        }
        part.push_str(&slot.alias);
        from = start + token.len();
    }
    part.push_str(text.get(from..).unwrap_or_default());
    pieces.push(Piece::Text(part));
    match slots.iter().find(|s| seen.get(s.token.as_str()) == Some(&false)) {
        Some(s) => Err(Error::internal(format!("table {} not found in deparsed query", s.name))
            .detail(text.to_owned())),
        None => Ok(Template { pieces }),
    }
}

/// What stands before a table's name at the end of a text, and what between the name and its alias.
fn behind_name<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'static str)> {
    let separators = [" ", " AS "].into_iter();
    separators.filter_map(|s| Some((text.strip_suffix(s)?.strip_suffix(name)?, s))).next()
}

/// Replaces everything that is known before the statement runs, and that another node could not
/// or should not compute itself, by parameters.
fn parametrize(q: Query, values: &mut Values) -> Result<()> {
    let mut error = None;
    q.mutate_parts(|n| replaced(n, values, &mut error));
    if let Some(e) = error {
        return Err(e);
    }
    // Under its own number it would be another value there: better no answer than a wrong one.
    match q.node().contains(is_others) {
        true => Err(Error::internal("a parameter would keep its number on another node")),
        false => Ok(()),
    }
}

/// Whether a node is a parameter of the statement, or of the plan around it.
fn is_others(n: Node) -> bool {
    let outside = [ParamKind::PARAM_EXTERN, ParamKind::PARAM_EXEC];
    n.cast::<Param>().is_some_and(|p| outside.contains(&p.paramkind()) && p.location() != OURS)
}

/// What takes the place of a part of a query, as [`Node::mutate`] asks; nothing does after an error.
fn replaced(n: Node, values: &mut Values, error: &mut Option<Error>) -> Option<Node> {
    if error.is_some() {
        return Some(n);
    }
    match n.kind() {
        Kind::Query(_) | Kind::List(_) | Kind::TargetEntry(_) => None,
        // In FROM the function itself has to stay; what it is given may be values.
        Kind::RangeTblFunction(f) => {
            let f = f.copy();
            let call = f.funcexpr();
            f.set_funcexpr(call.mutate(|n| match n == call {
                true => None,
                false => replaced(n, values, error),
            }));
            Some(f.node())
        }
        Kind::Const(c) => query::written_out(c),
        _ if !ship::is_expression(n.tag()) || makes_row(n) => None,
        _ if is_ours(n) => Some(n.copy()),
        _ if n.contains(is_ours) || !ship::becomes_parameter(n) => None,
        _ => match parameter(n, values) {
            Ok(p) => Some(p),
            Err(e) => {
                *error = Some(e);
                Some(n)
            }
        },
    }
}

/// Whether an expression makes a row of no named type, or a list of some: no parameter can be one, but
/// what it is made of can.
fn makes_row(n: Node) -> bool {
    matches!(n.tag(), NodeTag::T_RowExpr | NodeTag::T_ArrayExpr)
        && matches!(n.typ(), pg_sys::RECORDOID | pg_sys::RECORDARRAYOID)
}

/// Location that tells parameters made here from the user's.
const OURS: i32 = -1914;

fn is_ours(n: Node) -> bool {
    n.cast::<Param>().is_some_and(|p| p.location() == OURS)
}

/// The parameter that stands for a value.
pub fn parameter(value: Node, values: &mut Values) -> Result<Node> {
    let typ = value.typ();
    if lookup::type_kind(typ) == b'p' && typ != pg_sys::UNKNOWNOID {
        return Err(Error::unsupported(format!(
            "a value of type {} cannot be sent to another node",
            column::type_name(typ)
        )));
    }
    let number = values.add(value) as i32 + 1;
    let p = Param::new();
    p.set_paramkind(ParamKind::PARAM_EXTERN);
    p.set_paramid(number);
    p.set_paramtype(typ);
    p.set_paramtypmod(value.typmod());
    p.set_paramcollid(value.collation());
    p.set_location(OURS);
    if ship::is_plain_type(typ) {
        return Ok(collated(p.node(), value.collation()));
    }
    p.set_paramtype(pg_sys::TEXTOID);
    p.set_paramtypmod(-1);
    p.set_paramcollid(pg_sys::DEFAULT_COLLATION_OID);
    let c = CoerceViaIO::new();
    c.set_arg(p.node());
    c.set_resulttype(typ);
    c.set_resultcollid(value.collation());
    c.set_coerceformat(CoercionForm::COERCE_EXPLICIT_CAST);
    c.set_location(-1);
    Ok(collated(c.node(), value.collation()))
}

/// A value of a node with the collation that it has here, where that is not its type's.
fn collated(value: Node, collation: Oid) -> Node {
    if collation == Oid::INVALID || collation == lookup::type_collation(value.typ()) {
        return value;
    }
    collations::collated(value, collation)
}
