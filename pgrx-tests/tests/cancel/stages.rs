//! The places where statements are stopped.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use citus_tests::client::Conn;

use super::{Finish, Ground, Reached, Reading, Stage};

/// A stage that is one statement and nothing else.
fn send(c: &mut Conn, at: &mut Instant, sql: &str) -> Finish {
    *at = Instant::now();
    c.send(sql).unwrap();
    Box::new(|| ())
}

/// Another session that holds a lock until the try is over.
fn behind(g: &Ground, blocker: &str, c: &mut Conn, at: &mut Instant, sql: &str) -> Finish {
    let mut other = g.connect();
    other.run(blocker);
    let _ = send(c, at, sql);
    // After a crash there is nothing to roll back.
    Box::new(move || drop(other.simple("ROLLBACK")))
}

/// Sessions on the nodes that hold all shards of `t`: what needs one waits without working.
fn shards_locked(g: &Ground, c: &mut Conn, at: &mut Instant, sql: &str) -> Finish {
    let mut others: Vec<Conn> = g.cluster.workers.iter().map(|w| w.connect(&g.database)).collect();
    for o in &mut others {
        let shards =
            o.value("SELECT string_agg(relname, ', ') FROM pg_class WHERE relname ~ '^t_[0-9]+$'");
        o.run(&format!("BEGIN; LOCK TABLE {shards}"));
    }
    let _ = send(c, at, sql);
    Box::new(move || others.iter_mut().for_each(|o| drop(o.simple("ROLLBACK"))))
}

/// A COPY FROM whose client goes on sending lines.
fn copying(c: &mut Conn, at: &mut Instant, sql: &str) -> Finish {
    let over = Arc::new(AtomicBool::new(false));
    let (mut socket, stop) = (c.socket().unwrap(), over.clone());
    let _ = send(c, at, sql);
    let writer = std::thread::spawn(move || {
        let mut next = 1_000_000;
        while !stop.load(Ordering::Relaxed) {
            let mut lines = String::new();
            (0..200).for_each(|i| lines.push_str(&format!("{}\tsome text\n", next + i)));
            next += 200;
            let mut message = vec![b'd'];
            message.extend_from_slice(&(lines.len() as u32 + 4).to_be_bytes());
            message.extend_from_slice(lines.as_bytes());
            if socket.write_all(&message).is_err() {
                return;
            }
        }
    });
    Box::new(move || {
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    })
}

const WIDE: &str =
    "SELECT t.k, repeat('x', 1000) FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h";

pub(super) const STAGES: &[Stage] = &[
    Stage {
        name: "PostgreSQL alone (for comparison)",
        begin: |_, c, at| send(c, at, "SELECT pg_sleep(20)"),
        reading: Reading::On,
        reached: Reached::Soon,
    },
    Stage {
        name: "router query",
        begin: |g, c, at| shards_locked(g, c, at, "SELECT * FROM t WHERE k = 7"),
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "multi-shard query",
        begin: |g, c, at| shards_locked(g, c, at, "SELECT count(*) FROM t"),
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "nodes that calculate",
        begin: |_, c, at| {
            send(c, at, "SELECT max(k + a * b) FROM t, generate_series(1, 9999) a, generate_series(1, 9999) b")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "a slow function here",
        begin: |_, c, at| send(c, at, "SELECT slow(k) FROM t"),
        reading: Reading::On,
        reached: Reached::Soon,
    },
    Stage {
        name: "rows are streaming",
        begin: |_, c, at| {
            send(
                c,
                at,
                "SELECT t.k, g FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h",
            )
        },
        reading: Reading::On,
        reached: Reached::Rows,
    },
    Stage {
        name: "rows, the client does not read",
        begin: |_, c, at| send(c, at, WIDE),
        reading: Reading::Off,
        reached: Reached::Remote,
    },
    Stage {
        name: "a cursor that sorts here",
        begin: |_, c, at| {
            c.run("BEGIN; DECLARE x CURSOR FOR SELECT t.k, random() r FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h ORDER BY r");
            send(c, at, "FETCH 1 FROM x")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "COPY FROM",
        begin: |_, c, at| copying(c, at, "COPY fat FROM STDIN"),
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "COPY TO",
        begin: |_, c, at| send(c, at, "COPY fat TO STDOUT"),
        reading: Reading::Slow,
        reached: Reached::Rows,
    },
    Stage {
        name: "COPY (query) TO",
        begin: |_, c, at| {
            send(c, at, "COPY (SELECT t.k, g FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h) TO STDOUT")
        },
        reading: Reading::On,
        reached: Reached::Rows,
    },
    Stage {
        name: "a lock on a shard",
        begin: |g, c, at| {
            behind(
                g,
                "BEGIN; UPDATE t SET v = 'w' WHERE k = 7",
                c,
                at,
                "UPDATE t SET v = 'z' WHERE k = 7",
            )
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "a lock on the table here",
        begin: |g, c, at| {
            behind(
                g,
                "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
                c,
                at,
                "SELECT count(*) FROM t",
            )
        },
        reading: Reading::On,
        reached: Reached::Soon,
    },
    Stage {
        name: "UPDATE of all shards in a block",
        begin: |_, c, at| {
            c.run("BEGIN; UPDATE t SET v = 'b' WHERE k = 1");
            send(c, at, "UPDATE t SET v = 'c' FROM generate_series(1, 9999) a, generate_series(1, 9999) b WHERE a * b < 0")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "multi-row INSERT",
        begin: |_, c, at| {
            send(c, at, "INSERT INTO checked VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18), (19), (20)")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "INSERT .. SELECT on the nodes",
        begin: |_, c, at| {
            send(c, at, "INSERT INTO into_here SELECT t.k, g FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "INSERT .. SELECT through here",
        begin: |_, c, at| {
            send(c, at, "INSERT INTO into_here SELECT g, t.k FROM t, generate_series(1, 1000) g, generate_series(1, 1000) h")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
    Stage {
        name: "COMMIT, while nodes prepare",
        begin: |_, c, at| {
            c.run("BEGIN; INSERT INTO late VALUES (1), (2), (3), (4), (5), (6), (7), (8)");
            send(c, at, "COMMIT")
        },
        reading: Reading::On,
        reached: Reached::Remote,
    },
];
