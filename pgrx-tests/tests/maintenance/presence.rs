//! Which databases have a maintenance process, and what makes it come and go.

use super::{at_once, process, wait_none, wait_process, within, SECOND};
use citus_tests::client::Conn;
use citus_tests::process as os;
use citus_tests::server::{Kind, Server};
use std::time::{Duration, Instant};

fn server(conf: &str) -> (Server, Conn) {
    let server = Server::create("maintenance", Kind::FAST, conf).unwrap();
    let c = server.connect("postgres");
    (server, c)
}

/// A database with the extension, whose process has come.
fn database(server: &Server, c: &mut Conn, name: &str) -> i32 {
    c.run(&format!("CREATE DATABASE {name}"));
    server.connect(name).run("CREATE EXTENSION citus");
    wait_process(server, c, name)
}

#[test]
fn it_follows_the_extension() {
    let (server, mut c) = server("");
    c.run("CREATE DATABASE bare");
    database(&server, &mut c, "a");
    let b = database(&server, &mut c, "b");
    let types = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = ";
    assert_eq!(c.value(&format!("{types}'citus maintenance launcher'")), "1");
    let mut bare = server.connect("bare");
    bare.run("BEGIN; CREATE EXTENSION citus; ROLLBACK");
    server.connect("a").run("BEGIN; DROP EXTENSION citus; ROLLBACK");
    wait_process(&server, &mut c, "a");
    at_once(&mut server.connect("a"), "DROP EXTENSION citus");
    wait_none(&server, &mut c, "a");
    std::thread::sleep(3 * SECOND);
    assert_eq!(c.value(&format!("{types}'citus maintenance'")), "1");
    assert_eq!(process(&mut c, "b"), Some(b));
    // Dropped together with something else, and created again.
    c.run("CREATE ROLE chief SUPERUSER");
    server.connect("a").run("SET ROLE chief; CREATE EXTENSION citus");
    wait_process(&server, &mut c, "a");
    server.connect("a").run("DROP OWNED BY chief CASCADE");
    wait_none(&server, &mut c, "a");
    // Sees the difference between a session of a client and a process of the server.
    bare.run("CREATE EXTENSION citus");
    wait_process(&server, &mut c, "bare");
}

#[test]
fn databases_are_dropped_copied_renamed_and_moved_at_once() {
    let (server, mut c) = server("");
    database(&server, &mut c, "a");
    at_once(&mut c, "CREATE DATABASE copy TEMPLATE a");
    wait_process(&server, &mut c, "copy");
    wait_process(&server, &mut c, "a");
    at_once(&mut c, "ALTER DATABASE a RENAME TO a2");
    wait_process(&server, &mut c, "a2");
    let place = os::fresh_dir("tablespace");
    c.run(&format!("CREATE TABLESPACE elsewhere LOCATION '{}'", place.display()));
    at_once(&mut c, "ALTER DATABASE a2 SET TABLESPACE elsewhere");
    wait_process(&server, &mut c, "a2");
    at_once(&mut c, "DROP DATABASE a2");
    at_once(&mut c, "DROP DATABASE copy WITH (FORCE)");
    // The default template.
    server.connect("template1").run("CREATE EXTENSION citus");
    wait_process(&server, &mut c, "template1");
    at_once(&mut c, "CREATE DATABASE plain");
    wait_process(&server, &mut c, "plain");
    wait_process(&server, &mut c, "template1");
    // Again and again.
    for _ in 0..5 {
        at_once(&mut c, "CREATE DATABASE x TEMPLATE plain");
        at_once(&mut c, "DROP DATABASE x");
    }
    wait_process(&server, &mut c, "plain");
    std::thread::sleep(2 * SECOND);
    let log = server.log();
    let complaints = ["PANIC", "FATAL:  database", "WARNING", "terminating"];
    for text in complaints {
        assert!(!log.contains(text), "{text}: {}", server.log_tail(30));
    }
}

#[test]
fn only_who_may_makes_it_leave() {
    let (server, mut c) = server("");
    c.run("CREATE ROLE owner LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB");
    c.run("CREATE DATABASE mine OWNER owner");
    server.connect("mine").run("CREATE EXTENSION citus");
    let pid = wait_process(&server, &mut c, "mine");
    let mut stranger = Conn::connect(server.port, "stranger", "postgres").unwrap();
    for sql in [
        "DROP DATABASE mine",
        "DROP DATABASE mine WITH (FORCE)",
        "CREATE DATABASE stolen TEMPLATE mine",
        "ALTER DATABASE mine RENAME TO yours",
    ] {
        let e = stranger.simple(sql).unwrap_err();
        assert_eq!(e.code(), "42501", "{sql}: {e}");
    }
    let e = server.connect("mine").simple("SET ROLE stranger; DROP EXTENSION citus").unwrap_err();
    assert_eq!(e.code(), "42501", "{e}");
    assert_eq!(stranger.simple("DROP DATABASE no_such").unwrap_err().code(), "3D000");
    assert_eq!(process(&mut c, "mine"), Some(pid));
    let mut owner = Conn::connect(server.port, "owner", "postgres").unwrap();
    // A failure, too, gives the database back.
    let mut other = server.connect("mine");
    assert_eq!(owner.simple("DROP DATABASE mine").unwrap_err().code(), "55006");
    wait_process(&server, &mut c, "mine");
    other.run("SELECT 1");
    drop(other);
    // An owner must not end a superuser's session, which takes a moment to go.
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = 'mine' AND backend_type = 'client backend'";
    assert!(within(60 * SECOND, || c.value(sessions) == "0"));
    at_once(&mut owner, "DROP DATABASE mine WITH (FORCE)");
}

#[test]
fn it_comes_back() {
    let (server, mut c) = server("");
    let first = database(&server, &mut c, "a");
    assert_eq!(c.value(&format!("SELECT pg_terminate_backend({first})")), "t");
    let mut second = first;
    let back = within(60 * SECOND, || {
        second = process(&mut c, "a").unwrap_or(first);
        second != first
    });
    assert!(back, "{}", server.log_tail(30));
    // A cancel has nothing to cancel, and ends nothing.
    c.run(&format!("SELECT pg_cancel_backend({second})"));
    std::thread::sleep(SECOND);
    assert_eq!(process(&mut c, "a"), Some(second));
    let launcher = "SELECT pid FROM pg_stat_activity
                    WHERE backend_type = 'citus maintenance launcher'";
    let old = c.value(launcher);
    c.run(&format!("SELECT pg_terminate_backend({old})"));
    assert!(within(60 * SECOND, || !["", old.as_str()].contains(&c.value(launcher).as_str())));
    let third = database(&server, &mut c, "b");
    assert_eq!(process(&mut c, "a"), Some(second));
    os::signal(third, libc::SIGKILL);
    // Everybody is thrown out then.
    assert!(within(60 * SECOND, || c.simple("SELECT 1").is_err()));
    server.wait_ready().unwrap();
    let mut c = server.connect("postgres");
    for name in ["a", "b"] {
        wait_process(&server, &mut c, name);
    }
    server.end(libc::SIGKILL);
    server.start().unwrap();
    let mut c = server.connect("postgres");
    for name in ["a", "b"] {
        wait_process(&server, &mut c, name);
    }
}

#[test]
fn shutdown_does_not_wait_for_it() {
    let (server, mut c) = server("");
    for name in ["a", "b", "c"] {
        database(&server, &mut c, name);
    }
    drop(c);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        let mut c = server.connect("postgres");
        ["a", "b", "c"].iter().for_each(|d| {
            wait_process(&server, &mut c, d);
        });
        drop(c);
        let start = Instant::now();
        server.end(signal);
        let took = start.elapsed();
        assert!(took < 15 * SECOND, "signal {signal}: {took:?}");
        server.start().unwrap();
    }
    let log = server.log();
    assert!(!log.contains("PANIC") && !log.contains("panicked"), "{log}");
}

#[test]
fn a_standby_has_none_until_it_is_promoted() {
    let (server, mut c) = server("");
    database(&server, &mut c, "a");
    let standby = server.standby("standby").unwrap();
    let mut s = standby.connect("postgres");
    std::thread::sleep(2 * SECOND);
    let any = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'citus%'";
    assert_eq!(s.value(any), "0");
    assert_eq!(s.value("SELECT pg_promote()"), "t");
    wait_process(&standby, &mut s, "a");
}

#[test]
fn a_missing_slot_is_told_with_its_remedy() {
    // One for the launcher, one for logical replication, one for a database.
    let (server, mut c) = server("max_worker_processes = 3");
    database(&server, &mut c, "a");
    c.run("CREATE DATABASE b");
    server.connect("b").run("CREATE EXTENSION citus");
    let told = within(60 * SECOND, || server.log().contains("Raise max_worker_processes (now 3)"));
    assert!(told, "{}", server.log_tail(30));
    assert_eq!(process(&mut c, "b"), None);
    server.connect("a").run("DROP EXTENSION citus");
    assert!(within(60 * SECOND, || process(&mut c, "b").is_some()), "{}", server.log_tail(30));
    assert_eq!(server.log().matches("Raise max_worker_processes").count(), 1);
}

#[test]
fn databases_without_connections_are_no_trouble() {
    let (server, mut c) = server("");
    database(&server, &mut c, "closed");
    c.run("ALTER DATABASE closed ALLOW_CONNECTIONS false");
    drop(c);
    server.restart().unwrap();
    let mut c = server.connect("postgres");
    database(&server, &mut c, "open");
    assert_eq!(process(&mut c, "closed"), None);
    assert!(!server.log().contains("not currently accepting connections"));
    c.run("ALTER DATABASE closed ALLOW_CONNECTIONS true");
    std::thread::sleep(Duration::from_millis(10));
    c.run("CREATE DATABASE another");
    wait_process(&server, &mut c, "closed");
}
