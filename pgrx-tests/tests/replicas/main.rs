//! Tables with copies of their shards on several nodes: whatever many sessions do at the same time,
//! all copies hold the same rows; a copy that missed something is not read, and can be repaired.

mod definitions;
mod equal;
mod factor;
mod failure;
mod filling;
mod leftovers;
mod snapshots;
mod stress;
mod values;

use citus_tests::client::Conn;
use citus_tests::cluster::Cluster;

/// What each healthy placement of a table holds: shard id, port of the node, hash of the rows.
fn contents(cluster: &Cluster, database: &str, table: &str) -> Vec<(String, u16, String)> {
    let sql = format!(
        "SELECT shardid, nodeport FROM pg_dist_shard_placement JOIN pg_dist_shard USING (shardid) \
         WHERE logicalrelid = '{table}'::regclass AND shardstate = 1 ORDER BY 1, 2"
    );
    let mut found = Vec::new();
    for row in cluster.connect(database).rows(&sql) {
        let (shard, port) = (row[0].clone().unwrap(), row[1].clone().unwrap().parse().unwrap());
        let node = cluster.nodes().find(|n| n.port == port).unwrap();
        let hash = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') \
             FROM {table}_{shard} t"
        );
        let hash = node.connect(database).value(&hash);
        found.push((shard, port, hash));
    }
    found
}

/// All copies of each shard are equal; how many shards have more than one.
#[track_caller]
fn equal_copies(cluster: &Cluster, database: &str, table: &str) -> usize {
    let found = contents(cluster, database, table);
    for pair in found.windows(2) {
        if pair[0].0 == pair[1].0 {
            assert_eq!(pair[0].2, pair[1].2, "{table}: {} and {} differ", pair[0].1, pair[1].1);
        }
    }
    found.windows(2).filter(|p| p[0].0 == p[1].0).count()
}

/// Fails unless the statement does, with this SQLSTATE.
#[track_caller]
fn refused(c: &mut Conn, sql: &str, code: &str) -> String {
    match c.simple(sql) {
        Ok(_) => panic!("{sql} was not refused"),
        Err(e) => {
            assert_eq!(e.code(), code, "{sql}: {e}");
            e.to_string()
        }
    }
}
