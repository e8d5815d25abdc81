//! What a server is that somebody wants to make a node of this cluster, and whether it may be.

use crate::catalog::{self, COORDINATOR_GROUP};
use crate::error::{sqlstate, Error, Result};
use crate::pg::{fmgr, spi};
use crate::remote::simple::{self, TextResult};
use crate::remote::{pool, NodeAddr, SessionRef};
use crate::{pg::session, txn::run};

/// Facts about a server that every server can tell.
const SERVER_SQL: &str = "\
SELECT pg_catalog.current_setting('server_version_num'), \
  pg_catalog.current_setting('server_encoding'), \
  (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'citus'), \
  pg_catalog.current_setting('citus.version', true), \
  pg_catalog.pg_is_in_recovery(), \
  (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
  pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::text, \
  (SELECT d.datcollate || ' ' || d.datctype FROM pg_catalog.pg_database d \
   WHERE d.datname = pg_catalog.current_database())";

/// Facts that only a server with the extension can tell.
const IDENTITY_SQL: &str = "\
SELECT (SELECT groupid FROM pg_catalog.pg_dist_local_group), \
  (SELECT metadata->>'server_id' FROM pg_catalog.pg_dist_node_metadata LIMIT 1), \
  (SELECT metadata->>'coordinator_id' FROM pg_catalog.pg_dist_node_metadata LIMIT 1), \
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_dist_node), \
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_dist_partition)";

/// A server as seen through a connection.
pub struct Probe {
    /// `host:port` for messages.
    address: String,
    version_num: i32,
    encoding: String,
    collation: String,
    extension: Option<String>,
    loaded: bool,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Identifier that a primary shares with its standbys.
    pub system_id: String,
    started: String,
    identity: Identity,
}

/// What the server's own catalogs say about its membership.
#[derive(Default)]
pub struct Identity {
    /// Its group; 0 unless it is a worker.
    pub group: i32,
    server_id: String,
    coordinator_id: Option<String>,
    nodes: i64,
    tables: i64,
}

/// The address of a server that need not be in the catalog.
pub fn address(name: &str, port: i32) -> NodeAddr {
    NodeAddr { id: 0, group: -1, name: name.to_owned(), port }
}

/// The address of a registered node.
pub fn address_of(node: &catalog::Node) -> NodeAddr {
    NodeAddr { id: node.id, group: node.group, name: node.name.clone(), port: node.port }
}

impl Probe {
    /// Connects to a server and asks it.
    pub fn remote(name: &str, port: i32) -> Result<Probe> {
        let s = pool::connect(&address(name, port), &session::user_name())?;
        let ask = |s: &SessionRef, sql: &str| simple::query(s, sql);
        Self::ask(format!("{name}:{port}"), |sql| ask(&s, sql))
    }

    /// This server.
    pub fn local() -> Result<Probe> {
        Self::ask("this server".into(), |sql| spi::pinned(|| run::here(sql)))
    }

    fn ask(address: String, ask: impl Fn(&str) -> Result<TextResult>) -> Result<Probe> {
        let r = ask(SERVER_SQL)?;
        let text = |i: usize| cell(&r, i).unwrap_or_default();
        let mut probe = Probe {
            version_num: text(0).parse().unwrap_or(0),
            encoding: text(1),
            extension: cell(&r, 2),
            loaded: cell(&r, 3).is_some(),
            in_recovery: text(4) == "t",
            system_id: text(5),
            started: text(6),
            collation: text(7),
            identity: Identity::default(),
            address,
        };
        if probe.extension.is_some() {
            let r = ask(IDENTITY_SQL)?;
            let text = |i: usize| cell(&r, i).unwrap_or_default();
            probe.identity = Identity {
                group: text(0).parse().unwrap_or(0),
                server_id: text(1),
                coordinator_id: cell(&r, 2),
                nodes: text(3).parse().unwrap_or(0),
                tables: text(4).parse().unwrap_or(0),
            };
        }
        Ok(probe)
    }

    /// Whether two probes reached the same running server.
    pub fn same_server(&self, other: &Probe) -> bool {
        self.system_id == other.system_id && self.started == other.started
    }

    fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::new(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("node {} cannot be added to the cluster: {why}", self.address),
        )
    }

    /// Refuses a server that cannot work together with this one.
    pub fn require_compatible(&self, local: &Probe) -> Result<()> {
        let (theirs, ours) = (self.version_num / 10000, local.version_num / 10000);
        if theirs != ours {
            return Err(self
                .refuse("its PostgreSQL has another major version")
                .detail(format!("The node runs PostgreSQL {theirs}, the coordinator {ours}."))
                .hint("Run the same major version of PostgreSQL on every node."));
        }
        if self.encoding != local.encoding {
            return Err(self.refuse("its database has another encoding").detail(format!(
                "The node's encoding is {}, the coordinator's {}.",
                self.encoding, local.encoding
            )));
        }
        if locale(&self.collation) != locale(&local.collation) {
            return Err(self
                .refuse("its database has another locale")
                .detail(format!(
                    "The node's collation and character type are {}, the coordinator's {}.",
                    self.collation, local.collation
                ))
                .hint("Nodes that sort text differently would give wrong answers."));
        }
        self.require_extension(local)
    }

    fn require_extension(&self, local: &Probe) -> Result<()> {
        let Some(version) = &self.extension else {
            return Err(self
                .refuse("extension citus is not installed in its database")
                .hint("Connect to that database and run CREATE EXTENSION citus."));
        };
        if Some(version) != local.extension.as_ref() {
            let ours = local.extension.as_deref().unwrap_or("none");
            return Err(self
                .refuse("its extension citus has another version")
                .detail(format!("The node has version {version}, the coordinator {ours}."))
                .hint("Run ALTER EXTENSION citus UPDATE on the older of the two."));
        }
        if !self.loaded {
            return Err(self
                .refuse("its server does not preload the extension")
                .hint("Put citus into shared_preload_libraries there and restart the server."));
        }
        Ok(())
    }

    /// Refuses a server that is this one, a standby, a member already or another cluster's.
    pub fn require_free(&self, local: &Probe) -> Result<()> {
        if self.same_server(local) {
            return Err(self.refuse("it is the coordinator itself").hint(
                "Use citus_set_coordinator_host to register the coordinator, and \
                 citus_set_node_property to let it hold shards.",
            ));
        }
        if self.in_recovery {
            return Err(self
                .refuse("it is a standby")
                .hint("Use citus_add_secondary_node to add a standby of a node."));
        }
        self.require_no_other_cluster(local)?;
        if self.is_ours(local) {
            let nodes = catalog::nodes()?;
            let known = nodes.iter().find(|n| {
                n.group == self.identity.group && n.group != COORDINATOR_GROUP && n.is_primary()
            });
            if let Some(n) = known {
                return Err(self
                    .refuse("it belongs to this cluster already under another name")
                    .detail(format!("It is node {} ({}:{}).", n.id, n.name, n.port))
                    .hint("Use citus_update_node to change the address of a node."));
            }
        }
        Ok(())
    }

    /// Whether this cluster's coordinator marked the server as its own.
    fn is_ours(&self, local: &Probe) -> bool {
        self.identity.coordinator_id.as_deref() == Some(local.identity.server_id.as_str())
    }

    /// Refuses a server that another coordinator marked, or that is a coordinator by itself.
    pub fn require_no_other_cluster(&self, local: &Probe) -> Result<()> {
        let i = &self.identity;
        if self.is_ours(local) {
            return Ok(());
        }
        let hint = "Remove it from that cluster with citus_remove_node first, or drop and create \
                    the extension in its database.";
        if i.coordinator_id.is_some() || i.group != COORDINATOR_GROUP {
            return Err(self.refuse("it belongs to another cluster").hint(hint));
        }
        if i.nodes > 0 || i.tables > 0 {
            return Err(self
                .refuse("it is the coordinator of a cluster of its own")
                .detail(format!(
                    "Its metadata knows {} nodes and {} distributed tables.",
                    i.nodes, i.tables
                ))
                .hint("Drop and create the extension in its database first."));
        }
        Ok(())
    }

    /// The statement that makes the server the worker `node` of this cluster. It changes no row
    /// when somebody else was faster since the probe, see [`require_marked`].
    pub fn mark_sql(&self, local: &Probe, group: i32, node: i32) -> String {
        let coordinator = fmgr::quote_literal(&local.identity.server_id);
        format!(
            "UPDATE pg_catalog.pg_dist_node_metadata SET metadata = metadata \
             || pg_catalog.jsonb_build_object('coordinator_id', {coordinator}::text, \
             'node_id', {node}::integer); \
             UPDATE pg_catalog.pg_dist_local_group SET groupid = {group} WHERE groupid = {}",
            self.identity.group
        )
    }

    /// Refuses when the marking statement found the server changed.
    pub fn require_marked(&self, marked: &TextResult) -> Result<()> {
        if marked.tag == "UPDATE 1" {
            return Ok(());
        }
        Err(self.refuse("another session is adding it right now"))
    }

    /// Whether the server knows that it is the worker of this group.
    pub fn is_marked_as(&self, local: &Probe, group: i32) -> bool {
        self.is_ours(local) && self.identity.group == group
    }
}

/// The statement that makes a worker an independent server again.
pub const UNMARK_SQL: &str = "\
UPDATE pg_catalog.pg_dist_node_metadata SET metadata = metadata - 'coordinator_id' - 'node_id'; \
UPDATE pg_catalog.pg_dist_local_group SET groupid = 0; \
SELECT citus_internal.forget_secret()";

/// Column `i` of the first row.
pub fn cell(r: &TextResult, i: usize) -> Option<String> {
    r.rows.first().and_then(|row| row.get(i)).and_then(|v| v.clone())
}

/// Locale names in one spelling: `en_US.UTF-8` is `en_US.utf8`.
fn locale(name: &str) -> String {
    name.to_lowercase().replace('-', "")
}
