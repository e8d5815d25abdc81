//! SQL functions that tell shards from other tables.

use crate::ddl::shards;
use crate::pg_function;
use pgrx::pg_sys::Datum;

pg_function!(
    /// `relation_is_a_known_shard(regclass)`
    citus_relation_is_shard,
    |args| {
        let relid = args.required(args.oid(0), "relation")?;
        Ok(Datum::from(shards::table_of_shard(relid).is_some()))
    }
);

pg_function!(
    /// `citus_internal.shard_is_hidden(relation oid, relname name, relkind "char")`
    citus_shard_is_hidden,
    |args| {
        let relid = args.required(args.oid(0), "relation")?;
        let name = args.required(args.name(1), "relname")?;
        let kind = args.required(args.datum(2), "relkind")?.value() as u8;
        Ok(Datum::from(shards::is_hidden(relid, &name, kind)))
    }
);
