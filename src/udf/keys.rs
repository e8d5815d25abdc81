//! Distribution columns and the shards their values belong to.

use crate::catalog::{self, Kind};
use crate::error::{sqlstate, Error, Result};
use crate::pg::column;
use crate::pg_function;
use pgrx::pg_sys::{self, Datum, Oid};

pg_function!(
    /// `worker_hash("any")`: the hash that decides about the shard.
    citus_worker_hash,
    |args| {
        let value = args.required(args.datum(0), "value")?;
        let typ = args.arg_type(0);
        let collation = match args.collation() {
            Oid::INVALID => column::type_collation(typ),
            collation => collation,
        };
        Ok(Datum::from(column::hash_value(typ, collation, value)?))
    }
);

pg_function!(
    /// `get_shard_id_for_distribution_column(regclass, "any")`
    citus_get_shard_id,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let table = catalog::table(relid).ok_or_else(|| not_managed(relid))?;
        let Some(key) = table.key.as_ref().filter(|_| table.kind == Kind::Hash) else {
            return args.ret(table.shards.first().map(|s| Datum::from(s.id)));
        };
        let value = args.datum(1).ok_or_else(|| {
            Error::new(
                sqlstate::NULL_VALUE_NOT_ALLOWED,
                "distribution value must not be NULL for a table with a distribution column",
            )
        })?;
        let typ = column::base_type(args.arg_type(1));
        let hash = key.hash(column::convert(typ, value, key.typ));
        let shard = table.shard_index(hash).and_then(|i| table.shards.get(i));
        args.ret(shard.map(|s| Datum::from(s.id)))
    }
);

pg_function!(
    /// `column_name_to_column(regclass, text)`
    citus_column_name_to_column,
    |args| {
        let relid = args.required(args.oid(0), "table_name")?;
        let name = args.required(args.text(1), "column_name")?;
        let attno = find_column(relid, &name)?;
        args.ret_text(&column::stored_form(relid, attno)?)
    }
);

fn find_column(relid: Oid, name: &str) -> Result<pg_sys::AttrNumber> {
    let relation = column::relation_name(relid)?;
    column::number(relid, name)?.ok_or_else(|| {
        Error::new(
            sqlstate::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{relation}\" does not exist"),
        )
    })
}

/// The error for a table without metadata.
pub fn not_managed(relid: Oid) -> Error {
    match column::relation_name(relid) {
        Ok(name) => Error::new(
            sqlstate::WRONG_OBJECT_TYPE,
            format!("table \"{name}\" is not a Citus table"),
        )
        .hint("Distribute it with create_distributed_table or create_reference_table first."),
        Err(e) => e,
    }
}
