//! ALTER INDEX on indexes of managed tables.

use super::alter_table::options_text;
use super::refuse::not_supported;
use super::{hold_copies, plainly, Managed};
use crate::error::Result;
use crate::hooks::utility::Call;
use crate::pg::fmgr::{qualified, quote_ident};
use crate::pg::statement::AlterCommand;
use crate::pg::{relation, session};
use pgrx::pg_sys::AlterTableType as At;
use pgrx::pg_sys::Oid;

/// ALTER INDEX, or ALTER TABLE with the name of an index.
pub fn alter_index(call: Call, index: Oid) -> Result<()> {
    let table = relation::table_of_index(index).map_or(Ok(None), Managed::load)?;
    let (Some(m), Some((schema, name))) = (table, session::relation_name(index)) else {
        return plainly(&call);
    };
    let mut pieces = Vec::new();
    for c in call.statement().alter_commands() {
        match piece(c) {
            Some(p) => pieces.push(p),
            None => return Err(not_supported("this form of ALTER INDEX", &m.rel.name)),
        }
    }
    hold_copies(vec![m.rel.oid]);
    plainly(&call)?;
    let index = qualified(&schema, &name);
    let commands: Vec<String> = pieces.iter().map(|p| format!("ALTER INDEX {index} {p}")).collect();
    m.apply_with((schema, name), &commands)
}

fn piece(c: AlterCommand) -> Option<String> {
    Some(match c.kind() {
        At::AT_SetRelOptions => format!("SET {}", options_text(&c.options(), true)),
        At::AT_ResetRelOptions => format!("RESET {}", options_text(&c.options(), false)),
        At::AT_SetTableSpace => format!("SET TABLESPACE {}", quote_ident(&c.name())),
        At::AT_SetStatistics => {
            let column =
                if c.number() > 0 { c.number().to_string() } else { quote_ident(&c.name()) };
            format!("ALTER COLUMN {column} SET STATISTICS {}", c.value()?)
        }
        _ => return None,
    })
}
