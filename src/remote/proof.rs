//! Calls of functions that a node runs for other nodes only.

use super::session::{Answers, Session, SessionRef};
use super::simple;
use crate::catalog;
use crate::error::Result;
use crate::model::proof::{self, Arguments, Circumstances};
use crate::pg::fmgr::quote_literal;
use crate::pg::session as local;

/// A call of such a function, for any number of sessions: each gets a proof of its own.
pub struct Call {
    /// The function's name in pg_catalog. Its last argument is the proof.
    pub function: &'static str,
    /// The arguments before the proof, as SQL.
    pub sql: String,
    /// The same arguments as the node will see them.
    pub arguments: Arguments,
}

impl Call {
    /// The statement for a superuser's session, which needs no proof.
    pub fn unproven(&self) -> String {
        self.with("NULL")
    }

    /// The statement for a session.
    pub fn statement(&self, session: &SessionRef) -> Result<String> {
        let pooled = session.borrow().is_pooled();
        let asked = match pooled {
            // What the pooler told us at the start is not what the backend knows.
            true => ask(session)?,
            false => None,
        };
        let proof = session.borrow_mut().proof(self, asked);
        Ok(proof.map_or_else(|| self.unproven(), |p| self.with(&quote_literal(&p))))
    }

    /// The call by which a connection proves to be a node's, queued to travel with the first
    /// statement. Through a pooler there is none: its connections belong to anybody.
    pub(super) fn introduce(session: &mut Session) {
        let Some(login) = session.login.as_ref().filter(|l| !l.pooled) else { return };
        // Superusers are not counted.
        if local::is_superuser_role(&login.user) {
            return;
        }
        let call = Call {
            function: proof::INTRODUCTION,
            sql: String::new(),
            arguments: Arguments::default(),
        };
        if let Some(proof) = session.proof(&call, None) {
            let sql = format!("SELECT pg_catalog.{}({})", call.function, quote_literal(&proof));
            session.queue_internal(&sql, Answers::Discard);
        }
    }

    fn with(&self, proof: &str) -> String {
        format!("SELECT pg_catalog.{}({}, {proof})", self.function, self.sql)
    }
}

/// Asks a backend behind a pooler for a text that only it and we know.
pub(crate) fn ask(session: &SessionRef) -> Result<Option<String>> {
    let r = simple::query(session, "SELECT pg_catalog.citus_internal_ask_proof()")?;
    Ok(r.rows.into_iter().flatten().flatten().next().map(|t| proof::asked(&t)))
}

/// How a session logged in.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub user: String,
    pub database: String,
    /// A connection pooler is in between.
    pub pooled: bool,
}

impl Session {
    /// Whether a connection pooler is in between.
    pub(crate) fn is_pooled(&self) -> bool {
        self.login.as_ref().is_some_and(|l| l.pooled)
    }

    /// Lets what is queued from here on run as another role. `asked` is what [`ask`] has got, where a
    /// pooler is in between.
    pub(crate) fn act_as(&mut self, role: &str, restricted: bool, asked: Option<String>) {
        let arguments = proof::acting(role, restricted);
        let sql = quote_literal(role);
        let call = Call { function: proof::ACT_AS, sql, arguments };
        let proof = self.proof(&call, asked).map(|p| quote_literal(&p));
        let sql = proof::acting_call(&call.sql, restricted, proof.as_deref());
        self.queue_internal(&sql, Answers::Internal);
        self.acting = (role != self.user).then(|| role.into());
        // It is not certain that it can forget, so that it is never used again.
        self.shared |= self.identity.is_none();
    }

    /// The proof for a call; `None` where there is no secret shared with the node.
    fn proof(&mut self, call: &Call, asked: Option<String>) -> Option<String> {
        let secret = catalog::secret_of(self.node.group)?;
        let login = self.login.as_ref()?;
        self.proofs += 1;
        let connection = asked.unwrap_or_else(|| proof::direct(self.backend.0, self.backend.1));
        let c = Circumstances {
            connection: &connection,
            login: &login.user,
            database: &login.database,
            role: self.acting.as_deref().unwrap_or(&self.user),
            number: self.proofs,
        };
        proof::make(&secret, &c, call.function, &call.arguments)
    }
}
