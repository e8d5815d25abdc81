//! Rows that a new value of the distribution column takes to other shards.
//!
//! A row that stays in its shard is updated there. Others are deleted and inserted again, and an
//! UPDATE must not do what a DELETE would: rows that refer to them are neither deleted nor changed
//! by ON DELETE, and a row that the policies for DELETE keep where it is does not come twice. So
//! the statement leaves rows that are referred to, and the number of rows it has deleted has to be
//! that of the rows that move.

use super::identity::Identity;
use super::place::{by_identity, insert_step};
use crate::catalog::Table;
use crate::pg::fmgr::quote_ident;
use crate::pg::lookup::{self, Referring};
use crate::plan::{CheckAs, Moves, Piece, Step, When};

/// The steps for rows whose distribution column gets a new value: `changed` are the columns with
/// new values, `all` those of the whole new row.
pub fn steps(
    table: &Table,
    id: &Identity,
    changed: &[(i16, u32)],
    all: &[(i16, u32)],
    key: Option<u32>,
) -> Vec<Step> {
    // What leaves a shard makes room for what comes.
    let mut update = by_identity(table, id, changed, false, &[]);
    update.when = When::Stays;
    let mut insert = insert_step(table, all, key);
    insert.when = When::Moves;
    vec![delete(table, id), update, insert]
}

/// The statement that deletes rows from their old shards, unless rows refer to them that it would
/// delete or change, too.
fn delete(table: &Table, id: &Identity) -> Step {
    let mut step = by_identity(table, id, &[], true, &[]);
    step.counts = false;
    step.when = When::Moves;
    let referring = lookup::referring_with_action(table.relid);
    let own = referring.iter().any(|r| r.table == table.relid);
    for (r, n) in referring.iter().zip(1..) {
        step.plan.tables.push(u32::from(r.table));
        step.plan.check_as.push(CheckAs {
            table: n,
            alias: format!("c{n}"),
            role: u32::from(lookup::owner(r.table)),
        });
        step.plan.template.pieces.extend(unreferred(table, id, r, n));
    }
    if own {
        // The rows that move are mentioned once more.
        let names = id.names().join(", ");
        let rows = step.plan.template.pieces.iter().position(|p| *p == Piece::Rows);
        let after = rows.map_or(0, |i| i + 1);
        let mut rest = step.plan.template.pieces.split_off(after);
        if let Some(Piece::Text(text)) = rest.first_mut() {
            *text = text.replacen(&format!(") v({names})"), "", 1);
        }
        step.plan.template.pieces = vec![
            Piece::Text(format!("WITH v({names}) AS (VALUES ")),
            Piece::Rows,
            Piece::Text(") DELETE FROM ".into()),
            Piece::Table(0),
            Piece::Text(" t USING v".into()),
        ];
        step.plan.template.pieces.extend(rest);
    }
    step.moves = Some(Moves {
        table: lookup::relation_names(table.relid).1,
        constraints: referring
            .into_iter()
            .map(|r| (r.constraint, lookup::relation_names(r.table)))
            .collect(),
        policies: lookup::has_policies(table.relid),
    });
    step
}

/// The condition that no row refers to `t`. Rows of the table itself may, if they move as well.
fn unreferred(table: &Table, id: &Identity, r: &Referring, n: u32) -> [Piece; 3] {
    let mut conditions: Vec<String> = Vec::new();
    for (theirs, own, operator) in &r.columns {
        conditions.push(format!(
            "t.{} OPERATOR({operator}) c{n}.{}",
            quote_ident(&lookup::column_name(table.relid, *own)),
            quote_ident(&lookup::column_name(r.table, *theirs)),
        ));
    }
    if r.table == table.relid {
        let moving = id.condition(&format!("c{n}"), "w");
        conditions.push(format!("NOT EXISTS (SELECT FROM v w WHERE {moving})"));
    }
    [
        Piece::Text(" AND NOT EXISTS (SELECT FROM ".into()),
        Piece::Table(n),
        Piece::Text(format!(" c{n} WHERE {})", conditions.join(" AND "))),
    ]
}
