//! Nothing of a session is seen by the next one, and no role gets what is another's.

use super::{ground, Ground};

/// Lets the shard of the key on the worker do things when a row is written: what a client's
/// functions can do there. `dirty` leaves as much behind as possible, `report` tells what is there.
fn lay_traps(g: &Ground) {
    let mut w = g.cluster.workers[0].connect(&g.database);
    w.run(
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF new.v = 'dirty' THEN
             CREATE TEMP TABLE leftover (secret text);
             CREATE TEMP SEQUENCE numbers;
             PERFORM nextval('numbers'), pg_advisory_lock(4711), pg_advisory_lock_shared(4712);
             PERFORM set_config('work_mem', '12MB', false);
             PERFORM set_config('search_path', 'pg_temp', false);
             PERFORM set_config('TimeZone', 'Asia/Tokyo', false);
             EXECUTE 'PREPARE remembered AS SELECT 1';
             EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1';
             EXECUTE 'LISTEN gossip';
           ELSIF new.v = 'become' THEN
             EXECUTE 'SET SESSION AUTHORIZATION kept_victim';
           ELSIF new.v = 'role' THEN
             EXECUTE 'SET ROLE kept_victim';
           ELSE
             RAISE EXCEPTION USING message = format('%s %s table:%s locks:%s mem:%s zone:%s plans:%s cursors:%s ears:%s',
               session_user, current_user, to_regclass('pg_temp.leftover'),
               (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
               current_setting('work_mem'), current_setting('TimeZone'),
               (SELECT count(*) FROM pg_prepared_statements WHERE name = 'remembered'),
               (SELECT count(*) FROM pg_cursors WHERE name = 'held'),
               (SELECT count(*) FROM pg_listening_channels())),
               detail = pg_backend_pid()::text;
           END IF;
           RETURN new;
         END $$;
         DO $$ DECLARE s regclass; BEGIN
           FOR s IN SELECT oid FROM pg_class WHERE relname ~ '^t_[0-9]+$' AND relkind = 'r' LOOP
             EXECUTE format('CREATE TRIGGER trap BEFORE UPDATE ON %s FOR EACH ROW
                             EXECUTE FUNCTION trap()', s);
           END LOOP; END $$",
    );
}

/// Roles of these names on all nodes, with access to the table.
fn roles(g: &Ground, names: &[(&str, &str)]) {
    for node in g.cluster.nodes() {
        let mut c = node.connect(&g.database);
        for (name, options) in names {
            c.run(&format!(
                "DO $$ BEGIN CREATE ROLE {name}; EXCEPTION WHEN duplicate_object THEN END $$;
                 ALTER ROLE {name} {options};
                 GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {name}"
            ));
        }
    }
}

impl Ground {
    /// What the session on the worker looks like, and its process id.
    #[track_caller]
    fn report(&self, c: &mut citus_tests::client::Conn) -> (String, i32) {
        let sql = format!("UPDATE t SET v = 'report' WHERE k = {}", self.key);
        match c.simple(&sql) {
            Err(citus_tests::client::Error::Server(e)) if e.code == "P0001" => {
                (e.message, e.detail.unwrap().parse().unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_left_of_the_former_session() {
    let g = ground();
    lay_traps(&g);
    let clean = "postgres postgres table: locks:0 mem:4MB zone:UTC plans:0 cursors:0 ears:0";
    let (fresh, _) = g.report(&mut g.connect());
    assert_eq!(fresh, clean);
    let mut c = g.connect();
    c.run(&format!("UPDATE t SET v = 'dirty' WHERE k = {}", g.key));
    // The trap works: the session itself sees it all.
    let (dirty, pid) = g.report(&mut c);
    assert!(dirty.contains("table:leftover locks:2"), "{dirty}");
    assert!(dirty.contains("plans:1 cursors:1 ears:1"), "{dirty}");
    // Settings and prepared statements of the client's own.
    c.run("SET work_mem = '13MB'; SET TimeZone = 'Asia/Tokyo'");
    c.prepare("p", &format!("SELECT v FROM t WHERE k = {} AND k > $1", g.key)).unwrap();
    for _ in 0..8 {
        c.execute("p", &[Some("0".into())]).unwrap();
    }
    assert_eq!(g.leave(c), Some(pid));
    let mut c = g.connect();
    assert_eq!(g.report(&mut c), (clean.to_owned(), pid));
    // Its own prepared statements have the names of the former's.
    c.prepare("p", &format!("SELECT k FROM t WHERE k = {} AND k > $1", g.key)).unwrap();
    for _ in 0..8 {
        let found = c.execute("p", &[Some("0".into())]).unwrap();
        assert_eq!(found.rows, [[Some(g.key.to_string())]]);
    }
}

#[test]
fn who_changed_its_role_there_leaves_nobody_elses() {
    let g = ground();
    roles(&g, &[("kept_victim", "LOGIN")]);
    lay_traps(&g);
    for trick in ["become", "role"] {
        let mut c = g.connect();
        // The rest of the statement runs as somebody else; only the change counts.
        let _ = c.simple(&format!("UPDATE t SET v = '{trick}' WHERE k = {}", g.key));
        let (changed, pid) = g.report(&mut c);
        assert!(changed.contains("kept_victim table:"), "{trick}: {changed}");
        assert_eq!(g.leave(c), Some(pid), "{trick}");
        let (seen, again) = g.report(&mut g.connect());
        assert!(seen.starts_with("postgres postgres "), "{trick}: {seen}");
        assert_eq!(again, pid, "{trick}");
    }
}

#[test]
fn roles_never_share() {
    let g = ground();
    roles(&g, &[("kept_a", "LOGIN"), ("kept_b", "LOGIN"), ("kept_group", "NOLOGIN")]);
    lay_traps(&g);
    let visit = |role: &str| {
        let mut c = g.connect_as(role);
        let (seen, pid) = g.report(&mut c);
        assert!(seen.starts_with(&format!("{role} {role} ")), "{role}: {seen}");
        g.leave(c);
        pid
    };
    let (a, b) = (visit("kept_a"), visit("kept_b"));
    assert_ne!(a, b);
    let root = visit("postgres");
    assert!(root != a && root != b);
    assert_eq!(g.kept(), [a, b, root]);
    // Each finds its own.
    assert_eq!((visit("kept_b"), visit("kept_a"), visit("postgres")), (b, a, root));
    // Who acts as another role makes the connection which that one would make.
    let mut c = g.connect();
    c.run("SET ROLE kept_a");
    let (seen, pid) = g.report(&mut c);
    assert!(seen.starts_with("kept_a kept_a ") && pid == a, "{seen} {pid} {a}");
    g.leave(c);
    // A role that cannot log in acts through another's: not kept.
    let mut c = g.connect();
    c.run("SET ROLE kept_group");
    let (seen, pid) = g.report(&mut c);
    assert!(seen.starts_with("postgres kept_group "), "{seen}");
    g.leave(c);
    assert!(!g.kept().contains(&pid));
    // The same name is not the same role.
    let mut c = g.connect();
    c.run("ALTER ROLE kept_a RENAME TO kept_c; ALTER ROLE kept_b RENAME TO kept_a");
    assert!(g.kept().is_empty(), "kept although roles have changed");
    c.run("ALTER ROLE kept_a RENAME TO kept_b; ALTER ROLE kept_c RENAME TO kept_a");
}

#[test]
fn other_parameters_make_another_connection() {
    let g = ground();
    let first = g.visit().expect("nothing was kept");
    assert_eq!(g.visit(), Some(first));
    g.configure("SET citus.node_conninfo = 'sslmode=disable keepalives_idle=33'");
    let second = g.visit().expect("nothing was kept");
    assert_ne!(first, second);
    g.configure("SET citus.node_conninfo = 'sslmode=disable'");
    assert_eq!(g.visit(), Some(first));
    let mut c = g.connect();
    c.run("INSERT INTO pg_dist_authinfo VALUES (0, 'postgres', 'password=secret')");
    drop(c);
    let third = g.visit().expect("nothing was kept");
    assert!(third != first && third != second);
    let mut c = g.connect();
    c.run("DELETE FROM pg_dist_authinfo");
    let shown = c.rows("SELECT k::text FROM citus_internal.kept_connections() k");
    assert!(!format!("{shown:?}").contains("secret"));
}

/// Settings of applications cannot be taken back as if they had never been there: their value
/// would be empty instead of missing.
#[test]
fn settings_of_applications_end_with_the_connection() {
    let g = ground();
    let first = g.visit().expect("nothing was kept");
    let mut c = g.connect();
    c.run("SET app.tenant = '7'");
    g.ask(&mut c);
    assert_eq!(g.there(0), [first]);
    assert_eq!(g.leave(c), None);
    let mut c = g.connect();
    c.run("BEGIN");
    g.ask(&mut c);
    c.run("SET LOCAL app.tenant = '8'");
    g.ask(&mut c);
    c.run("COMMIT");
    assert_eq!(g.leave(c), None);
}
