//! Passwords of connections between nodes show nowhere, whatever goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};

use citus_tests::client::Conn;
use citus_tests::process;
use citus_tests::server::Server;

use crate::{cluster, error, user};

/// Lets a role in with its password only, on a server where everybody is trusted.
fn ask_for_password(node: &Server, role: &str) {
    // Tests share the servers and their files.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = node.dir.join("data/pg_hba.conf");
    let rules = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("host all {role} 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    node.connect("postgres").run("SELECT pg_reload_conf()");
    for _ in 0..1000 {
        if Conn::connect(node.port, role, "postgres").is_err() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{} does not ask for a password", node.name);
}

/// What is said about rows that cannot stand in pg_dist_authinfo.
fn refused_rows(admin: &mut Conn, wrong: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for bad in [
        format!("password={wrong} host=evil"),
        format!("password={wrong} unknown=1"),
        format!("password='{wrong}"),
    ] {
        let sql =
            format!("INSERT INTO pg_dist_authinfo VALUES (0, 'x', '{}')", bad.replace('\'', "''"));
        let e = error(admin, &sql);
        // PostgreSQL shows the row to whoever wrote it, a superuser.
        texts.push(format!("{} {:?}", e.message, e.hint));
    }
    texts
}

/// The administrator's own statements aside, no log has a password.
fn look_into_logs(right: &str, wrong: &str) {
    for node in cluster().nodes() {
        let log = node.log();
        assert!(log.contains("passwords.t"), "the log has what happened");
        for line in log.lines().filter(|l| l.contains(right) || l.contains(wrong)) {
            let own = line.contains("pg_dist_authinfo") || line.contains("Failing row contains");
            assert!(own && node.port == cluster().coordinator.port, "{}: {line}", node.name);
        }
    }
}

#[test]
fn passwords_are_not_shown() {
    let cl = cluster();
    let db = &cl.database("passwords");
    user("passwords", db);
    let (right, wrong) = ("Right-Horse-1", "Wrong-Horse-2");
    let mut c = Conn::connect(cl.coordinator.port, "passwords", db).unwrap();
    c.run("CREATE TABLE passwords.t (k int); SELECT create_distributed_table('passwords.t', 'k')");
    c.run("INSERT INTO passwords.t VALUES (1), (2), (3)");
    let quiet = "SET log_statement = 'none'; SET log_min_duration_statement = -1;";
    for w in &cl.workers {
        let mut there = w.connect(db);
        there.run(quiet);
        there.run(&format!("ALTER ROLE passwords PASSWORD '{right}'"));
        ask_for_password(w, "passwords");
    }
    let mut admin = cl.connect(db);
    admin.run(quiet);
    admin.run(&format!("INSERT INTO pg_dist_authinfo VALUES (0, 'passwords', 'password={right}')"));
    let set = |admin: &mut Conn, info: &str| {
        admin.run(&format!("UPDATE pg_dist_authinfo SET authinfo = '{info}'"));
    };
    let fresh = || Conn::connect(cl.coordinator.port, "passwords", db).unwrap();
    let mut texts = Vec::new();
    // It works, so it is used.
    assert_eq!(fresh().value("SELECT count(*) FROM passwords.t"), "3");
    fresh().run("ALTER TABLE passwords.t ADD COLUMN a int");
    fresh().run("SET client_min_messages = debug5; SET citus.log_remote_commands = on; SELECT * FROM passwords.t");
    for (info, more) in [
        (format!("password={wrong}"), ""),
        (format!("password={wrong} sslcert=/nonexistent"), ""),
        (format!("password={right} sslkey=/nonexistent"), "any"),
    ] {
        set(&mut admin, &info);
        let mut c = fresh();
        c.run("SET client_min_messages = debug5");
        match c.simple("SELECT count(*) FROM passwords.t") {
            Ok(_) => assert_eq!(more, "any", "{info}"),
            Err(e) => texts.push(format!("{e:?}")),
        }
        let all = "SELECT string_agg(result, ' ') FROM run_command_on_workers('SELECT 1')";
        texts.push(c.value(all));
        texts.extend(c.notices.iter().map(|n| format!("{n:?}")));
    }
    assert!(texts.iter().any(|t| t.contains("password authentication failed")), "{texts:?}");
    admin.run("DELETE FROM pg_dist_authinfo");
    let e = error(&mut fresh(), "SELECT count(*) FROM passwords.t");
    assert!(e.hint.as_deref().unwrap_or("").contains("pg_dist_authinfo"), "{e}");
    texts.push(format!("{e:?}"));
    texts.extend(refused_rows(&mut admin, wrong));
    for view in [
        "pg_stat_activity",
        "pg_settings",
        "citus_stat_activity",
        "pg_dist_node",
        "citus_tables",
        "citus_locks",
        "pg_stats",
        "citus_stat_statements",
    ] {
        texts.push(fresh().value(&format!("SELECT string_agg(v::text, ' ') FROM {view} v")));
    }
    for t in &texts {
        assert!(!t.contains(right) && !t.contains(wrong), "{t}");
    }
    look_into_logs(right, wrong);
}

/// A password may stand in a file instead, and a pooler may call the database something else.
#[test]
fn what_may_stand_in_the_tables_counts() {
    let cl = cluster();
    let db = &cl.database("passfile");
    user("passfile", db);
    let mut admin = cl.connect(db);
    for w in &cl.workers {
        w.connect(db).run("ALTER ROLE passfile PASSWORD 'from-a:file'");
        ask_for_password(w, "passfile");
    }
    let file = process::fresh_dir("passfile").join("pgpass");
    let info = format!("passfile={}", file.display());
    admin.run(&format!("INSERT INTO pg_dist_authinfo VALUES (0, 'passfile', '{info}')"));
    let ask = || {
        let mut c = Conn::connect(cl.coordinator.port, "passfile", db).unwrap();
        c.value("SELECT string_agg(DISTINCT result, ' ') FROM run_command_on_workers('SELECT 1')")
    };
    assert!(ask().contains("could not read password file"), "{}", ask());
    fs::write(&file, format!("*:1:*:*:wrong\n127.0.0.1:*:{db}:passfile:from-a\\:file\n")).unwrap();
    process::give(&file);
    let open = ask();
    assert!(open.contains("only its owner can read") && !open.contains("from-a"), "{open}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ask(), "1");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();

    let mut names = |name: &str| {
        admin.run("DELETE FROM pg_dist_poolinfo");
        let sql = "INSERT INTO pg_dist_poolinfo SELECT nodeid,
            format('host=127.0.0.1 port=%s dbname=%s', nodeport, $1) FROM pg_dist_node WHERE groupid > 0";
        admin.run(&sql.replace("$1", &format!("'{name}'")));
        let all = "SELECT string_agg(DISTINCT result, ' ')
            FROM run_command_on_workers('SELECT current_database()')";
        cl.connect(db).value(all)
    };
    assert_eq!(names("citus_template"), "citus_template");
    assert_eq!(names(db), *db);
}
