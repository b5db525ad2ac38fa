//! How long a lost connection is tried again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::CallFailure;

/// The time that a gateway takes to be started again, and that agents take to attach to it.
const LOST_FOR: Duration = Duration::from_secs(600);
/// The pause between two attempts.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Since when a connection is lost.
#[derive(Debug, Default)]
pub(crate) struct LostConnection {
    since: Option<Instant>,
}

impl LostConnection {
    /// The connection works.
    pub(crate) fn found(&mut self) {
        self.since = None;
    }

    /// Waits until the next attempt, if the failure is worth one.
    ///
    /// # Errors
    /// It is not, or it has been tried for long enough.
    pub(crate) async fn wait(&mut self, failure: CallFailure) -> Result<(), CallFailure> {
        let was_lost = self.since.is_some();
        let is_worth_it = failure.is_lost() || was_lost && failure.is_away();
        self.pause(failure, is_worth_it).await
    }

    /// The same for an order that may have been taken: what became of it is also asked again when
    /// an answer is late.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub(crate) async fn wait_for_answer(
        &mut self,
        failure: CallFailure,
    ) -> Result<(), CallFailure> {
        let is_worth_it = failure.is_lost() || failure.is_late() || failure.is_away();
        self.pause(failure, is_worth_it).await
    }

    async fn pause(&mut self, failure: CallFailure, is_worth_it: bool) -> Result<(), CallFailure> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !is_worth_it || since.elapsed() > LOST_FOR {
            return Err(failure);
        }
        sleep(AGAIN_AFTER).await;
        Ok(())
    }
}
