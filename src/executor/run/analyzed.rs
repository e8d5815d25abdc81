//! Tasks that EXPLAIN ANALYZE asks about.

use super::super::tasks::Task;
use super::{Exec, Running};
use crate::remote::SessionRef;

impl Exec {
    /// Queues a node's tasks with what EXPLAIN ANALYZE asks about them; nothing without it.
    pub(super) fn queue_analyzed(
        &mut self,
        session: &SessionRef,
        group: i32,
        tasks: &[Task],
        params: &[Option<Vec<u8>>],
    ) -> Vec<Running> {
        let mut running = Vec::new();
        let Some(mut a) = self.analysis.take() else { return running };
        a.start(session);
        for t in tasks.iter().filter(|t| t.group == group) {
            a.queue(session, t, &mut || self.queue(session, t, params));
        }
        running.extend(a.queued(session).map(|(mute, shard)| Running { mute, shard, copies: 1 }));
        self.analysis = Some(a);
        running
    }
}
