//! SQL functions that create and convert tables.

use crate::catalog;
use crate::cluster::trust;
use crate::ddl::apply::{self, Batch};
use crate::ddl::checks::Target;
use crate::ddl::create::{self, Colocate, Request};
use crate::ddl::dependencies::ENSURE;
use crate::ddl::{colocation, info, undistribute};
use crate::error::{sqlstate, Error, Result};
use crate::model::proof::Arguments;
use crate::pg::fmgr::{self, Args};
use crate::pg::session::require_owner;
use crate::pg::{guard, relation, spi};
use crate::pg_function;
use pgrx::pg_sys::{self, Oid};

fn table_argument(args: &Args, name: &str) -> Result<Oid> {
    args.required(args.oid(0), name)
}

/// What `colocate_with` says: `default`, `none` or a table.
fn colocate_argument(text: &str) -> Result<Colocate> {
    match text {
        "default" => Ok(Colocate::Default),
        "none" => Ok(Colocate::None),
        name => Ok(Colocate::With(regclass(name)?)),
    }
}

/// A table by its name, as `regclass` reads it, with the session's search path.
fn regclass(name: &str) -> Result<Oid> {
    let sql = "SELECT $1::pg_catalog.regclass::pg_catalog.oid";
    let found = guard::catch_result(|| spi::execute_unpinned(sql, &[spi::text(name)]));
    // The user knows nothing of the statement that looked the name up.
    let (rows, _) = found.map_err(|mut e| {
        e.context = None;
        e
    })?;
    let oid = rows.into_iter().flatten().flatten().next().and_then(|v| v.parse::<u32>().ok());
    oid.map(Oid::from).ok_or_else(|| {
        Error::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    })
}

pg_function!(
    /// `create_distributed_table`
    citus_create_distributed_table,
    |args| {
        let relid = table_argument(&args, "table_name")?;
        let kind = args.required(args.datum(2), "distribution_type")?;
        let kind = fmgr::output(args.arg_type(2), kind);
        if kind != "hash" {
            return Err(Error::unsupported(format!("distribution type \"{kind}\" is not supported"))
                .hint("Use distribution type \"hash\"."));
        }
        let column = args.text(1);
        let target = if column.is_some() { Target::Hash } else { Target::Single };
        let mut request = Request::new(relid, target);
        request.colocate = colocate_argument(&args.required(args.text(3), "colocate_with")?)?;
        request.column = column;
        request.shard_count = args.i32(4);
        request.replication = args.i32(5);
        if target == Target::Single && (args.i32(4).is_some() || args.i32(5).is_some()) {
            let message = "shard_count and replication_factor need a distribution column";
            return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                .hint("A table without distribution column has one shard with one placement."));
        }
        create::convert(&request)?;
        args.void()
    }
);

pg_function!(
    /// `create_reference_table`
    citus_create_reference_table,
    |args| {
        let relid = table_argument(&args, "table_name")?;
        create::convert(&Request::new(relid, Target::Reference))?;
        args.void()
    }
);

pg_function!(
    /// `citus_add_local_table_to_metadata`
    citus_add_local_table_to_metadata,
    |args| {
        let relid = table_argument(&args, "table_name")?;
        if !args.bool(1).unwrap_or(false) && relation::exists(relid) {
            for k in info::foreign_keys(relid)? {
                let other = if k.from == relid { k.to } else { k.from };
                if other != relid && catalog::table(other).is_none() {
                    let message = format!(
                        "table \"{}\" is connected with \"{}\" by foreign key \"{}\"",
                        info::name_of(relid),
                        info::name_of(other),
                        k.name
                    );
                    return Err(Error::unsupported(message)
                        .hint("Use cascade_via_foreign_keys => true to add both."));
                }
            }
        }
        create::convert(&Request::new(relid, Target::Local))?;
        args.void()
    }
);

pg_function!(
    /// `undistribute_table`
    citus_undistribute_table,
    |args| {
        let relid = table_argument(&args, "table_name")?;
        undistribute::undistribute(relid, args.bool(1).unwrap_or(false))?;
        args.void()
    }
);

pg_function!(
    /// `remove_local_tables_from_metadata`
    citus_remove_local_tables_from_metadata,
    |args| {
        undistribute::remove_local_tables()?;
        args.void()
    }
);

pg_function!(
    /// `truncate_local_data_after_distributing_table`: rows that were written to the table itself
    /// go. Distributing a table does this already.
    citus_truncate_local_data,
    |args| {
        let relid = table_argument(&args, "function_name")?;
        let rel = info::Relation::load(relid)?;
        require_owner(relid, &rel.name)?;
        if catalog::table(relid).is_none() {
            let message = format!("table \"{}\" is not distributed", rel.name);
            return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        relation::lock(relid, pg_sys::AccessExclusiveLock);
        relation::empty(relid)?;
        args.void()
    }
);

pg_function!(
    /// `update_distributed_table_colocation`
    citus_update_distributed_table_colocation,
    |args| {
        let relid = table_argument(&args, "table_name")?;
        let with = match colocate_argument(&args.required(args.text(1), "colocate_with")?)? {
            Colocate::With(oid) => Some(oid),
            Colocate::None => None,
            Colocate::Default => {
                let message = "colocate_with must name a table or be 'none'";
                return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        };
        colocation::update(relid, with)?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_apply_shard_ddl`: statements on logical tables, applied to shards here with
    /// the privileges of the caller. For other nodes and superusers only.
    citus_apply_shard_ddl,
    |args| {
        let texts = |i: usize, name: &str| -> Result<Vec<String>> {
            let list = args.required(args.text_array(i, pg_sys::TEXTOID), name)?;
            list.into_iter().map(|t| args.required(t, name)).collect()
        };
        let (schemas, tables) = (texts(0, "schemas")?, texts(1, "names")?);
        let ids = args.required(args.i64_array(2), "shard_ids")?;
        let commands = texts(3, "commands")?;
        if schemas.is_empty() || schemas.len() != tables.len() || ids.len() % schemas.len() != 0 {
            let message = "numbers of names and shard ids do not fit";
            return Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let width = schemas.len();
        let batch = Batch {
            relations: schemas.into_iter().zip(tables).collect(),
            ids: ids.chunks(width).map(<[i64]>::to_vec).collect(),
            commands,
        };
        let proof = args.text(4);
        trust::require_node(apply::APPLY, &batch.arguments(), proof.as_deref())?;
        batch.run()?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_ensure_objects`: runs statements that create objects; what exists already
    /// is left as it is, but for types that are others. They run with the privileges of the caller; for other nodes and superusers
    /// only.
    citus_ensure_objects,
    |args| {
        let list = args.required(args.text_array(0, pg_sys::TEXTOID), "commands")?;
        let commands: Vec<String> = list.into_iter().flatten().collect();
        let mut about = Arguments::default();
        about.list(commands.iter());
        trust::require_node(ENSURE, &about, args.text(1).as_deref())?;
        apply::create_unless_exist(&commands)?;
        args.void()
    }
);
