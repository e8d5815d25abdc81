//! Shards are not for clients that read `pg_class`, be it through the views of the server.

use super::is_flat;
use crate::pg::query::{self, List, Query, RangeTblEntry, Visit};
use crate::pg::{lookup, session, spi};
use crate::{catalog, settings};
use pgrx::pg_sys::{self, CoercionForm, Oid, RTEKind};

/// What is asked of each row: the columns of `pg_class` by number and type.
const ASKED: [(i16, Oid); 3] = [(1, pg_sys::OIDOID), (2, pg_sys::NAMEOID), (17, pg_sys::CHAROID)];

/// Whether a range table entry is `pg_class`.
fn is_list_of_tables(rte: RangeTblEntry) -> bool {
    rte.rtekind() == RTEKind::RTE_RELATION && rte.relid() == pg_sys::RelationRelationId
}

/// Whether a query reads `pg_class` at any level.
fn reads_list_of_tables(q: Query) -> bool {
    if is_flat(q) {
        return q.rtable().iter().any(is_list_of_tables);
    }
    q.walk(|n| match n.cast::<RangeTblEntry>() {
        Some(rte) if is_list_of_tables(rte) => Visit::Stop,
        _ => Visit::Descend,
    })
}

/// Adds to each `pg_class` in a query that shards are left out. It is a condition of the table
/// itself, as those of row-level security, and so holds in any join. Who sees shards is found out
/// when it runs: plans are kept for longer than settings.
pub fn hide_shards(q: Query) {
    if !reads_list_of_tables(q)
        || !catalog::extension_ready()
        || !catalog::any_tables()
        || !settings::override_table_visibility()
        || !session::has_client()
        || spi::is_internal()
    {
        return;
    }
    let types = ASKED.map(|(_, typ)| typ);
    let Some(hidden) = lookup::internal_function(c"shard_is_hidden", &types) else { return };
    hide_in(q, hidden);
    q.walk(|n| {
        if let Some(inner) = n.cast::<Query>() {
            hide_in(inner, hidden);
        }
        Visit::Descend
    });
}

/// [`hide_shards`] for one level of a query.
fn hide_in(q: Query, hidden: Oid) {
    for (rti, rte) in (1i32..).zip(q.rtable().iter()) {
        let is_target = rti == q.result_relation();
        if is_target || !is_list_of_tables(rte) || !rte.security_quals().is_empty() {
            continue;
        }
        let none = Oid::INVALID;
        let args = ASKED.map(|(attno, typ)| {
            let collation = if typ == pg_sys::NAMEOID { lookup::type_collation(typ) } else { none };
            query::var(rti, attno, typ, -1, collation).node()
        });
        let asked = query::call(
            hidden,
            pg_sys::BOOLOID,
            args.into_iter().collect(),
            CoercionForm::COERCE_EXPLICIT_CALL,
        );
        rte.set_security_quals(List::from([query::not(asked.node())]));
    }
}
