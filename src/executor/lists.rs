//! Lists of values of the distribution column that are parameters: each shard gets its own elements.

use super::tasks::{lookup, Task, Value};
use crate::error::Result;
use crate::pg::fmgr;
use crate::pg::value::Typed;
use crate::plan::{DistPlan, Target};
use crate::planner::values;
use pgrx::pg_sys::Datum;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::rc::Rc;

/// Shorter lists go to all shards as they are.
const LONG: usize = 16;

/// Numbers of parameters and their values, where a task has values of its own.
pub type Own = Rc<[(usize, Value)]>;

/// Gives the tasks of several shards (by number) their elements of long lists; in the current memory
/// context.
pub fn split(plan: &DistPlan, params: &[Value], shards: &[u32], tasks: &mut [Task]) -> Result<()> {
    let Target::Shards { anchor, .. } = &plan.target else { return Ok(()) };
    let lists = plan.params.iter().zip(params).enumerate().filter(|(_, (spec, _))| spec.list);
    let table = lookup(*anchor)?;
    let mut of_shard: FxHashMap<i64, Vec<(usize, Value)>> = FxHashMap::default();
    for (n, (_, (typ, value))) in lists {
        // SAFETY: the datum is of the type that goes with it.
        let Some(elements) = value.and_then(|v| unsafe { Typed::new(*typ, v) }.elements()) else {
            continue;
        };
        let Some(element) = elements.first().map(|e| e.typ()).filter(|_| elements.len() >= LONG)
        else {
            continue;
        };
        let mut parts: FxHashMap<u32, Vec<Datum>> = FxHashMap::default();
        for e in elements {
            let Some(shards) = values::shard_of(&table, Some(e)) else { return Ok(()) };
            shards.iter().for_each(|s| parts.entry(*s).or_default().push(e.datum()));
        }
        for i in shards {
            let Some(shard) = table.shards.get(*i as usize) else { continue };
            let mut own = parts.remove(i).unwrap_or_default();
            let array = fmgr::array_of(element, &mut own);
            of_shard.entry(shard.id).or_default().push((n, (*typ, Some(array))));
        }
    }
    let of_shard: FxHashMap<i64, Own> =
        of_shard.into_iter().map(|(shard, own)| (shard, own.into())).collect();
    tasks.iter_mut().for_each(|t| t.own = of_shard.get(&t.shard).cloned());
    Ok(())
}

/// The values of the parameters for a task.
pub fn values_for<'a>(task: &Task, params: &'a [Value]) -> Cow<'a, [Value]> {
    let Some(own) = &task.own else { return Cow::Borrowed(params) };
    let mut all = params.to_vec();
    for (n, value) in own.iter() {
        if let Some(p) = all.get_mut(*n) {
            *p = *value;
        }
    }
    Cow::Owned(all)
}
