//! The begin of an execution: which tasks, in which order.

use super::super::tasks::{self, Task, Value};
use super::super::{order, reach};
use super::Exec;
use crate::error::Result;
use crate::stats::query;

impl Exec {
    /// Sends the plan's tasks.
    ///
    /// # Safety
    /// The values are of the types that go with them.
    pub unsafe fn start(&mut self, values: &[Value]) -> Result<()> {
        if self.query.is_some() {
            query::note_tenant(self.plan.tenant.clone());
        }
        let mut failed = Vec::new();
        loop {
            let tasks = tasks::tasks(&self.plan, values, &|| self.reads.sight())?;
            let changed =
                order::lock(&self.plan, &tasks)? || reach::settle(&self.plan, &tasks, &mut failed)?;
            if !changed {
                return self.start_tasks(tasks, values);
            }
        }
    }

    /// Runs tasks on the first copy of each shard, then on the others.
    pub(super) unsafe fn run_leaders_first(
        &mut self,
        tasks: Vec<Task>,
        values: &[Value],
    ) -> Result<()> {
        let (followers, leaders): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(|t| t.mute);
        let before = std::mem::replace(&mut self.in_transaction, true);
        self.run_tasks(leaders, values)?;
        self.complete()?;
        self.run_tasks(followers, values)?;
        self.in_transaction = before;
        Ok(())
    }
}
