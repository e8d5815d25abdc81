//! Encryption between nodes: what a connection string asks for is kept, or there is no connection.

use std::fs;
use std::path::Path;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;
use citus_tests::process;
use citus_tests::server::{Kind, Server};

/// Certificates, made by `pgrx-tests/tls/make`, as a server wants them: its own, and private.
struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Files {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tls");
        let dir = process::fresh_dir("tls");
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let to = dir.join(path.file_name().unwrap());
            fs::copy(&path, &to).unwrap();
            mode(&to, 0o600);
            process::give(&to);
        }
        fs::create_dir(dir.join("lists")).unwrap();
        fs::copy(dir.join("node.crl"), dir.join("lists/any.crl")).unwrap();
        for path in [dir.join("lists"), dir.join("lists/any.crl")] {
            mode(&path, 0o755);
            process::give(&path);
        }
        Files(dir)
    }

    /// A text with the directory in the place of `@`.
    fn path(&self, text: &str) -> String {
        text.replace('@', &format!("{}/", self.0.display()))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set(node: &Server, name: &str, value: &str) {
    node.connect("postgres").run(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    node.reload();
}

/// Lets a worker show a certificate.
fn show(worker: &Server, files: &Files, certificate: &str) {
    let mut c = worker.connect("postgres");
    c.run(&files.path(&format!("ALTER SYSTEM SET ssl_cert_file = '@{certificate}.crt'")));
    c.run(&files.path(&format!("ALTER SYSTEM SET ssl_key_file = '@{certificate}.key'")));
    worker.reload();
}

/// What a new session gets from the worker: its answer, or the whole error.
fn answer(cl: &Cluster, db: &str, conninfo: &str) -> String {
    set(&cl.coordinator, "citus.node_conninfo", conninfo);
    let mut c = Conn::connect(cl.coordinator.port, "tls_client", db).unwrap();
    match c.simple("SELECT count(*) FROM tls_client.t") {
        Ok(_) => c.value(
            "SELECT result FROM run_command_on_workers('SELECT coalesce(version, ''plain'') ||
             coalesce(client_dn, '''') FROM pg_stat_ssl WHERE pid = pg_backend_pid()')",
        ),
        Err(e) => format!("{e:?}"),
    }
}

const FULL: &str = "sslmode=verify-full sslrootcert=@trusted.crt";

/// Certificate of the worker, connection string, and a part of what comes of it.
const CASES: &[(&str, &str, &str)] = &[
    ("node", "sslmode=disable", "plain"),
    ("node", "sslmode=prefer", "TLSv1.3"),
    ("node", "sslmode=require", "TLSv1.3"),
    ("node", "sslmode=verify-ca sslrootcert=@trusted.crt", "TLSv1.3"),
    ("node", "FULL", "TLSv1.3"),
    ("node", "sslmode=require sslrootcert=@stranger.crt", "UnknownIssuer"),
    ("node", "sslmode=verify-ca sslrootcert=@stranger.crt", "UnknownIssuer"),
    ("node", "sslmode=verify-full", "needs sslrootcert"),
    ("node", "sslmode=verify-full sslrootcert=@missing.crt", "missing.crt"),
    ("node", "FULL ssl_max_protocol_version=TLSv1.2", "TLSv1.2"),
    ("node", "FULL ssl_min_protocol_version=TLSv1.3", "TLSv1.3"),
    (
        "node",
        "FULL ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
        "no version",
    ),
    // Who was revoked is not connected to.
    ("node", "FULL sslcrl=@none.crl", "TLSv1.3"),
    ("node", "FULL sslcrl=@node.crl", "Revoked"),
    ("node", "FULL sslcrldir=@lists", "Revoked"),
    ("node", "FULL sslcrl=@missing.crl", "missing.crl"),
    ("node", "FULL sslcrl=@node.crt", "there is no certificate revocation list"),
    ("node", "sslmode=require sslcrl=@node.crl", "need sslrootcert"),
    // A certificate for another name, and one that somebody else signed.
    ("elsewhere", "sslmode=require", "TLSv1.3"),
    ("elsewhere", "sslmode=verify-ca sslrootcert=@trusted.crt", "TLSv1.3"),
    ("elsewhere", "FULL", "not valid for name"),
    ("impostor", "sslmode=require", "TLSv1.3"),
    ("impostor", "sslmode=verify-ca sslrootcert=@trusted.crt", "UnknownIssuer"),
    ("impostor", "FULL", "UnknownIssuer"),
];

/// The same for a worker that wants certificates of its clients.
const CLIENTS: &[(&str, &str)] = &[
    ("sslmode=disable", "no encryption"),
    ("FULL", "requires a valid client certificate"),
    ("FULL sslcert=@client.crt sslkey=@client.key", "TLSv1.3/CN=tls_client"),
    ("FULL sslcert=@forged.crt sslkey=@forged.key", "08006"),
    ("FULL sslcert=@node.crt sslkey=@node.key", "certificate authentication failed"),
    ("FULL sslcert=@client.crt sslkey=@node.key", "KeyMismatch"),
    ("FULL sslcert=@client.crt", "sslcert needs sslkey"),
    ("FULL sslcert=@client.crt sslkey=@open.key", "only its owner can read"),
];

#[test]
fn encryption_is_what_was_asked_for() {
    let files = Files::new();
    let ssl = "ssl = on\nssl_ca_file = '@trusted.crt'\nssl_cert_file = '@node.crt'\nssl_key_file = '@node.key'";
    let cl = Cluster::start(1, Kind::FAST, &files.path(ssl));
    let db = &cl.database("tls");
    for node in cl.nodes() {
        let mut c = node.connect(db);
        c.run("CREATE ROLE tls_client LOGIN; CREATE SCHEMA tls_client AUTHORIZATION tls_client");
    }
    let mut c = cl.connect(db);
    c.run("SET ROLE tls_client; CREATE TABLE tls_client.t (k int)");
    c.run("SELECT create_distributed_table('tls_client.t', 'k', shard_count := 2)");
    let full = |text: &str| files.path(&text.replace("FULL", FULL));
    let mut wrong = Vec::new();
    for (certificate, conninfo, expected) in CASES {
        show(&cl.workers[0], &files, certificate);
        let found = answer(&cl, db, &full(conninfo));
        if !found.contains(expected) {
            wrong.push(format!("{certificate}, {conninfo}: {found}"));
        }
    }
    show(&cl.workers[0], &files, "node");
    let hba = cl.workers[0].dir.join("data/pg_hba.conf");
    let rules = fs::read_to_string(&hba).unwrap();
    fs::write(
        &hba,
        format!("hostssl all tls_client all cert\nhostnossl all tls_client all reject\n{rules}"),
    )
    .unwrap();
    cl.workers[0].reload();
    fs::copy(files.path("@client.key"), files.path("@open.key")).unwrap();
    mode(Path::new(&files.path("@open.key")), 0o644);
    process::give(Path::new(&files.path("@open.key")));
    for (conninfo, expected) in CLIENTS {
        let found = answer(&cl, db, &full(conninfo));
        if !found.contains(expected) {
            wrong.push(format!("client, {conninfo}: {found}"));
        }
    }
    // A role's own certificate stands in pg_dist_authinfo.
    let row = "INSERT INTO pg_dist_authinfo VALUES (0, 'tls_client', 'sslcert=@client.crt sslkey=@client.key')";
    cl.connect(db).run(&files.path(row));
    let found = answer(&cl, db, &full("FULL"));
    if found != "TLSv1.3/CN=tls_client" {
        wrong.push(format!("authinfo: {found}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// PostgreSQL would warn about a wrong value and take the default, which verifies nothing.
#[test]
fn no_server_starts_with_less_protection_than_it_was_told() {
    for (value, why) in [
        ("sslmode=verify-full sslrotcert=/ca.crt", "sslrotcert"),
        ("sslmode=verify-full channel_binding=require", "channel binding"),
    ] {
        let conf = format!("citus.node_conninfo = '{value}'");
        let Err(e) = Server::create("unsafe", Kind::FAST, &conf) else {
            panic!("it started with {value}");
        };
        let text = e.to_string();
        assert!(
            text.contains("FATAL:  invalid value for parameter") && text.contains(why),
            "{text}"
        );
    }
    // The control.
    let conf = "citus.node_conninfo = 'sslmode=verify-full sslrootcert=/ca.crt'";
    let server = Server::create("safe", Kind::FAST, conf).unwrap();
    assert!(server.connect("postgres").value("SHOW citus.node_conninfo").contains("verify-full"));
}
