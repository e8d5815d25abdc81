//! SQL functions by which the coordinator tells a node as whom rights are checked.

use crate::cluster::trust;
use crate::error::Result;
use crate::executor::rights;
use crate::model::proof;
use crate::pg_function;
use pgrx::pg_sys;

pg_function!(
    /// `citus_internal_check_as(tables, proof)`: schema, table, alias and role of each table.
    citus_check_as,
    |args| {
        let list = args.required(args.text_array(0, pg_sys::TEXTOID), "tables")?;
        let texts: Vec<String> =
            list.into_iter().map(|t| args.required(t, "tables")).collect::<Result<_>>()?;
        let proof = args.text(1);
        trust::require_node(rights::CHECK_AS, &rights::arguments(&texts), proof.as_deref())?;
        rights::check_as(&texts)?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_act_as(role, restricted, proof)`
    citus_act_as,
    |args| {
        let role = args.required(args.text(0), "role")?;
        let restricted = args.required(args.bool(1), "restricted")?;
        let proof = args.text(2);
        let arguments = proof::acting(&role, restricted);
        trust::require_node(proof::ACT_AS, &arguments, proof.as_deref())?;
        rights::act_as(&role, restricted, proof.as_deref())?;
        args.void()
    }
);

pg_function!(
    /// `citus_internal_check_as_self()`
    citus_check_as_self,
    |args| {
        rights::check_as_self();
        args.void()
    }
);
