//! What a client says about itself, and every setting that it can change, gives it nothing.

use citus_tests::client::Conn;

use crate::{cluster, error, session, user};

/// What an ordinary user must not get, on any node.
const ATTACKS: &[&str] = &[
    "SELECT * FROM spoof_rich.gold",
    "SELECT * FROM citus_internal.node_secrets",
    "SELECT * FROM pg_dist_authinfo",
    "UPDATE pg_dist_node SET nodename = 'evil'",
    "DELETE FROM pg_dist_partition",
    "INSERT INTO pg_dist_transaction VALUES (1, 'x', NULL)",
    "SELECT citus_add_node('127.0.0.1', 1)",
    "SELECT citus_remove_node('127.0.0.1', 1)",
    "SELECT citus_internal_ensure_objects('{}', NULL)",
    "SELECT citus_internal_ensure_objects('{}', '1:00')",
    "SELECT citus_internal_apply_shard_ddl('{a}', '{a}', '{1}', '{DROP TABLE a.a}', NULL)",
    "SELECT citus_internal_check_as('{spoof_rich,gold,g,spoof_rich}', NULL)",
    "SELECT recover_prepared_transactions()",
    "SELECT check_distributed_deadlocks()",
    "SELECT citus_internal.query_nodes('SELECT 1')",
    "SELECT master_run_on_worker(ARRAY['127.0.0.1'], ARRAY[1], ARRAY['SELECT 1'], false)",
    "SELECT citus_check_connection_to_node('127.0.0.1', 1)",
    "SELECT create_distributed_table('spoof_rich.gold', 'k')",
    "SELECT undistribute_table('spoof_rich.gold')",
    "SELECT update_distributed_table_colocation('spoof_rich.gold', 'none')",
    "SELECT citus_total_relation_size('spoof_rich.gold')",
    "SELECT citus_stat_counters_reset(0)",
];

/// Runs every attack; gives back those that worked.
fn successes(c: &mut Conn) -> Vec<String> {
    let mut done = Vec::new();
    for sql in ATTACKS {
        match c.simple(sql) {
            Ok(_) => done.push((*sql).to_owned()),
            Err(e) => {
                // On a worker the schema's table is its shards: it has no name there.
                let fits = ["42501", "28000", "55000", "42P01", "3F000"].contains(&e.code());
                assert!(fits, "{sql}\n{e}");
            }
        }
    }
    done
}

/// Values to try for a setting, by its type.
fn values(kind: &str, given: &str, max: &str) -> Vec<String> {
    match kind {
        "bool" => vec!["on".into(), "off".into()],
        "integer" | "real" | "int" => vec![given.into(), max.into()],
        "enum" => given.split(',').map(str::to_owned).collect(),
        _ => vec!["*".into(), "postgres".into(), "citus_internal".into()],
    }
}

#[test]
fn names_and_settings_open_nothing() {
    let cl = cluster();
    let db = &cl.database("spoof");
    user("spoof_rich", db);
    user("spoof", db);
    let mut rich = session(&cl.coordinator, "spoof_rich", db);
    rich.run("CREATE TABLE spoof_rich.gold (k int)");
    rich.run("SELECT create_distributed_table('spoof_rich.gold', 'k')");
    for node in cl.nodes() {
        let mut c = session(node, "spoof", db);
        assert_eq!(successes(&mut c), [""; 0], "on {}", node.name);
        for name in [
            "citus_internal gpid=10000000001",
            "citus_rebalancer gpid=10000000001",
            "citus_run_command gpid=10000000001",
            "citus maintenance",
            "citus_internal",
        ] {
            c.run(&format!("SET application_name = '{name}'"));
            assert_eq!(successes(&mut c), [""; 0], "as {name} on {}", node.name);
        }
        let mut changed = 0;
        for (name, context, values) in all_settings() {
            for value in values {
                let sql = format!("SET {name} = '{}'", value.replace('\'', "''"));
                match c.simple(&sql) {
                    Ok(_) if context == "user" => changed += 1,
                    Ok(_) => panic!("{sql} is not for ordinary users"),
                    Err(e) => {
                        assert!(["42501", "55P02", "22023"].contains(&e.code()), "{sql}\n{e}")
                    }
                }
            }
        }
        assert!(changed > 100, "only {changed} changes");
        // All of them together.
        assert_eq!(successes(&mut c), [""; 0], "with all settings on {}", node.name);
        // A setting that does not exist is not made up.
        let e = error(&mut c, "SET citus.proof = 'x'");
        assert_eq!(e.code, "42602", "{e}");
    }
    // The control: who may, can.
    let mut admin = cl.connect(db);
    for sql in &ATTACKS[..3] {
        admin.run(sql);
    }
    rich.run(ATTACKS[0]);
}

/// Name, context and values of every setting of ours.
fn all_settings() -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    let lines =
        |text: &'static str| text.lines().skip(1).map(|l| l.split('\t').collect::<Vec<_>>());
    for l in lines(include_str!("../../contract/settings.tsv")) {
        let list = if l[1] == "enum" { l[6] } else { l[4] };
        all.push((l[0].to_owned(), l[7].to_owned(), values(l[1], list, l[5])));
    }
    for l in lines(include_str!("../../contract/settings_hidden.tsv")) {
        let context = if l[3] == "userset" { "user" } else { l[3] };
        all.push((l[0].to_owned(), context.to_owned(), values(l[1], l[2], l[2])));
    }
    assert!(all.len() > 130, "{} settings", all.len());
    all
}

/// Where a node does not know whose backends it has, it shows what they call themselves. That is
/// for the eye only: nobody is cancelled for it.
#[test]
fn a_borrowed_global_pid_hits_nobody() {
    let cl = cluster();
    let db = &cl.database("gpid");
    user("gpid", db);
    let mut victim = cl.connect(db);
    let gpid = victim.value("SELECT citus_backend_gpid()");
    let mut c = session(&cl.workers[0], "gpid", db);
    c.run(&format!("SET application_name = 'citus_internal gpid={gpid}'"));
    assert_eq!(c.value("SELECT citus_backend_gpid()"), gpid, "shown, as the worker cannot know");
    // The coordinator knows.
    let shown = format!(
        "SELECT count(*) FROM citus_stat_activity WHERE global_pid = {gpid} AND usename = 'gpid'"
    );
    assert_eq!(cl.connect(db).value(&shown), "0");
    let mut thief = session(&cl.coordinator, "gpid", db);
    let e = error(&mut thief, &format!("SELECT pg_terminate_backend({gpid}::bigint)"));
    assert_eq!(e.code, "42501", "{e}");
    assert_eq!(victim.value("SELECT 1"), "1");
}
