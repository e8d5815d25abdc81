//! Tables of shards that are not used any more and are still on their node: it could not be
//! reached when they should have been dropped, or somebody may have been reading them.
//!
//! `pg_dist_cleanup` has a row for each, written in the transaction that makes the table useless.
//! The maintenance process drops the table and forgets the row; `citus_cleanup_orphaned_resources`
//! does it by hand. Whoever makes a table of that name there again forgets the row first, and so
//! waits for who is just dropping it.

use super::info;
use super::names::shard_name;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::fmgr::qualified;
use crate::pg::{session, spi};
use crate::remote::{pool, simple, NodeAddr, SessionRef};
use crate::settings;
use crate::txn::{recovery, run};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// `object_type` of the table of a shard; what others may write there is left alone.
const TABLE: i32 = 1;
/// `policy_type` of what goes whatever became of the operation that wrote the row.
const ALWAYS: i32 = 0;
/// Rows of one round, which is one transaction.
const ROUND: i32 = 200;
/// Time that a node has for an answer; dropping waits for locks for half of it.
const ANSWER: Duration = Duration::from_secs(10);
/// Time in milliseconds that connecting may take when nobody waits for the result.
const CONNECT: i32 = 5000;
/// Time for which a node that could not be reached is not tried again by the maintenance process.
const AVOID: Duration = Duration::from_secs(30);

/// Tables of a group's node that are to be dropped, by their qualified names.
pub fn record(group: i32, names: &[String]) -> Result<()> {
    let sql = "INSERT INTO pg_catalog.pg_dist_cleanup \
        (record_id, operation_id, object_type, object_name, node_group_id, policy_type) \
        SELECT nextval('pg_catalog.pg_dist_cleanup_recordid_seq'::regclass), \
            nextval('pg_catalog.pg_dist_operationid_seq'::regclass), $1, $2, $3, $4 \
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_cleanup \
            WHERE object_type = $1 AND object_name = $2 AND node_group_id = $3)";
    for name in names {
        let params = [spi::i32(TABLE), spi::text(name), spi::i32(group), spi::i32(ALWAYS)];
        spi::execute_as_owner(sql, &params)?;
    }
    Ok(())
}

/// What placements that missed a write leave behind when their table is dropped or gets another
/// name: they take no part in that.
pub fn record_stale(relid: pgrx::pg_sys::Oid, schema: &str, table: &str) -> Result<()> {
    let sql = "SELECT p.groupid, s.shardid::text FROM pg_catalog.pg_dist_placement p \
        JOIN pg_catalog.pg_dist_shard s ON s.shardid = p.shardid \
        WHERE s.logicalrelid = $1 AND p.shardstate <> 1 ORDER BY 1, s.shardid";
    for row in info::rows(sql, &[spi::oid(relid)])? {
        if let Ok(id) = row.text(1).parse() {
            record(row.num(0), &[qualified(schema, &shard_name(table, id))])?;
        }
    }
    Ok(())
}

/// Drops tables on a group's node in the running transaction.
pub fn drop_now(group: i32, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let sql = format!("DROP TABLE IF EXISTS {} CASCADE", names.join(", "));
    run::on_group(group, &sql, true).map(|_| ())
}

/// A table of that name is about to be made: what is recorded of it is no leftover any more.
pub fn forget(group: i32, name: &str) -> Result<()> {
    let sql = "DELETE FROM pg_catalog.pg_dist_cleanup \
        WHERE object_type = $1 AND object_name = $2 AND node_group_id = $3";
    let params = [spi::i32(TABLE), spi::text(name), spi::i32(group)];
    spi::execute_as_owner(sql, &params).map(|_| ())
}

/// Forgets all that is recorded of a group and gives it back.
pub fn take(group: i32) -> Result<Vec<String>> {
    let sql = "DELETE FROM pg_catalog.pg_dist_cleanup \
        WHERE object_type = $1 AND node_group_id = $2 RETURNING object_name";
    let (rows, _) = spi::execute_as_owner(sql, &[spi::i32(TABLE), spi::i32(group)])?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// What a round did.
#[derive(Default)]
pub struct Report {
    /// Tables that are not there any more.
    pub dropped: u64,
    /// Why others still are.
    pub problems: Vec<Error>,
}

/// A row of `pg_dist_cleanup`.
struct Leftover {
    record: i64,
    name: String,
}

thread_local! {
    /// Nodes that could not be reached, and when.
    static AVOIDED: RefCell<BTreeMap<i32, Instant>> = const { RefCell::new(BTreeMap::new()) };
}

/// Drops what is recorded, on all nodes that can be reached, apart from the running transaction.
/// With `patient`, nodes that could not be reached lately are left for later.
pub fn clean(patient: bool) -> Result<Report> {
    let mut report = Report::default();
    let mut list = waiting()?;
    if patient {
        AVOIDED.with(|a| {
            a.borrow_mut().retain(|_, at| at.elapsed() < AVOID);
            list.retain(|g, _| !a.borrow().contains_key(g));
        });
    }
    if list.is_empty() {
        return Ok(report);
    }
    let limit = settings::node_connection_timeout().min(CONNECT).to_string();
    let sessions = spi::with_setting("citus.node_connection_timeout", &limit, || reach(&list))?;
    let mut gone: Vec<i64> = Vec::new();
    let mut working = Vec::new();
    for (group, session) in sessions {
        match session {
            Ok(session) => working.push((group, session)),
            Err(e) => {
                AVOIDED.with(|a| a.borrow_mut().insert(group, Instant::now()));
                report.problems.push(e);
            }
        }
    }
    drop_all(&list, working, &mut gone, &mut report.problems)?;
    let ids: Vec<String> = gone.iter().map(i64::to_string).collect();
    let sql = "DELETE FROM pg_catalog.pg_dist_cleanup WHERE record_id = ANY ($1::int8[])";
    let array = format!("{{{}}}", ids.join(","));
    report.dropped = spi::execute_as_owner(sql, &[spi::text(&array)])?.1;
    Ok(report)
}

/// The rows that can be dealt with now, by group, locked until the end of the transaction: without
/// those that somebody else deals with, and without tables that a statement may still be reading
/// which began before they became useless.
fn waiting() -> Result<BTreeMap<i32, Vec<Leftover>>> {
    let sql = "SELECT c.record_id::text, c.node_group_id, c.object_name \
        FROM pg_catalog.pg_dist_cleanup c \
        WHERE c.object_type = $1 AND c.node_group_id IN (SELECT groupid \
            FROM pg_catalog.pg_dist_node WHERE isactive AND noderole = 'primary') \
        AND age(c.xmin) > ALL (SELECT age(a.backend_xmin) FROM pg_catalog.pg_stat_activity a \
            WHERE a.datname = current_database() AND a.pid <> pg_catalog.pg_backend_pid() \
            AND a.backend_xmin IS NOT NULL) \
        ORDER BY c.record_id LIMIT $2 FOR UPDATE OF c SKIP LOCKED";
    let (rows, _) = spi::execute_as_owner(sql, &[spi::i32(TABLE), spi::i32(ROUND)])?;
    let mut list: BTreeMap<i32, Vec<Leftover>> = BTreeMap::new();
    for row in rows {
        let mut row = row.into_iter().flatten();
        let (Some(record), Some(group), Some(name)) = (row.next(), row.next(), row.next()) else {
            continue;
        };
        if let (Ok(record), Ok(group)) = (record.parse(), group.parse()) {
            list.entry(group).or_default().push(Leftover { record, name });
        }
    }
    Ok(list)
}

/// A group with the session to its node; to this node there is none.
type Reached = (i32, Result<Option<SessionRef>>);

/// Connects to the nodes.
fn reach(list: &BTreeMap<i32, Vec<Leftover>>) -> Result<Vec<Reached>> {
    let local = catalog::local_group()?;
    let mut nodes = Vec::new();
    for group in list.keys().filter(|g| **g != local) {
        let n = catalog::node_of_group(*group)?;
        nodes.push(NodeAddr { id: n.id, group: *group, name: n.name.clone(), port: n.port });
    }
    let made = pool::connect_all(&nodes, &recovery::maintainer()?)?;
    let mut sessions: Vec<Reached> =
        nodes.iter().zip(made).map(|(n, s)| (n.group, s.map(Some))).collect();
    if list.contains_key(&local) {
        sessions.push((local, Ok(None)));
    }
    Ok(sessions)
}

/// Drops the tables, one of each node at a time, and notes the rows that have become needless.
fn drop_all(
    list: &BTreeMap<i32, Vec<Leftover>>,
    working: Vec<(i32, Option<SessionRef>)>,
    gone: &mut Vec<i64>,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let mut remote = Vec::new();
    for (group, session) in working {
        let leftovers = list.get(&group).map(Vec::as_slice).unwrap_or_default();
        let (used, useless): (Vec<_>, Vec<_>) =
            leftovers.iter().partition(|l| in_use(group, &l.name));
        gone.extend(used.iter().map(|l| l.record));
        match session {
            Some(session) => remote.push((session, useless)),
            None => {
                for l in useless {
                    spi::execute_as_owner(&drop_sql(&l.name), &[])?;
                    gone.push(l.record);
                }
            }
        }
    }
    let timeout = format!("SET lock_timeout = {}", ANSWER.as_millis() / 2);
    let begin: Vec<_> = remote.iter().map(|(s, _)| (s.clone(), timeout.clone())).collect();
    simple::query_all_within(&begin, ANSWER)?;
    for step in 0.. {
        let (mut records, mut work) = (Vec::new(), Vec::new());
        for (session, useless) in remote.iter().filter(|(s, _)| !s.borrow().is_broken()) {
            if let Some(l) = useless.get(step) {
                records.push(l.record);
                work.push((session.clone(), drop_sql(&l.name)));
            }
        }
        if work.is_empty() {
            return Ok(());
        }
        for (record, answer) in records.into_iter().zip(simple::query_all_within(&work, ANSWER)?) {
            match answer {
                Ok(_) => gone.push(record),
                Err(e) => problems.push(e),
            }
        }
    }
    Ok(())
}

fn drop_sql(name: &str) -> String {
    format!("DROP TABLE IF EXISTS {name} CASCADE")
}

/// Whether a name is that of a placement after all. Rows do not outlive the making of one; but
/// nothing is worse than dropping what is in use.
fn in_use(group: i32, name: &str) -> bool {
    let digits = name.trim_end_matches('"').rsplit('_').next().unwrap_or_default();
    let Some(id) = digits.parse::<i64>().ok() else { return false };
    let Some(table) = catalog::relation_of_shard(id).and_then(catalog::table) else {
        return false;
    };
    let here = |s: &catalog::Shard| s.id == id && s.placements.iter().any(|p| p.group == group);
    table.shards.iter().any(here)
        && session::relation_name(table.relid)
            .is_some_and(|(schema, t)| qualified(&schema, &shard_name(&t, id)) == name)
}
