//! The events of one command, as `WatchCommand` streams them: its record, then milestones in
//! their order, the latest progress and what the command says meanwhile, and at the end its
//! final record.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::watch_command_response::Event;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{convert, status};
use crate::commands::Watching;

/// The pause between two progress events.
const PAUSE: Duration = Duration::from_millis(500);

/// Streams a command's events, without the milestones up to and including `after`. Ends when
/// the command has ended, or with an error when `stop` says that the agent stops.
pub(super) fn events(
    watching: Watching,
    after: u64,
    stop: CancellationToken,
) -> impl Stream<Item = Result<v1::WatchCommandResponse, Status>> {
    let follower = Follower {
        watching,
        after,
        stop,
        next_progress: Instant::now(),
        progress_open: true,
        lines_open: true,
        stage: WatchStage::Opening,
    };
    unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })
}

#[derive(Debug, PartialEq, Eq)]
enum WatchStage {
    Opening,
    Following,
    Over,
}

struct Follower {
    watching: Watching,
    /// The sequence number of the last milestone that was sent or is not wanted.
    after: u64,
    stop: CancellationToken,
    next_progress: Instant,
    progress_open: bool,
    lines_open: bool,
    stage: WatchStage,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<v1::WatchCommandResponse, Status>> {
        match self.stage {
            WatchStage::Over => return None,
            WatchStage::Opening => {
                self.stage = WatchStage::Following;
                return Some(Ok(self.record()));
            }
            WatchStage::Following => {}
        }
        // Goal: the next event. Exit: there is one, the command is over, or the agent stops.
        loop {
            if let Some(milestone) = self.milestone() {
                return Some(Ok(event(Event::Milestone(milestone))));
            }
            let has_ended = self.watching.record.borrow().has_ended();
            if has_ended {
                // What it said before its end and nobody has heard yet.
                if let Some(line) = self.said() {
                    return Some(Ok(event(Event::Log(line))));
                }
                self.stage = WatchStage::Over;
                return Some(Ok(self.record()));
            }
            let Watching {
                record,
                progress,
                lines,
            } = &mut self.watching;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.stage = WatchStage::Over;
                    return Some(Err(status::shutting_down()));
                }
                changed = record.changed() => if changed.is_err() {
                    // The command was refused by its verb: it never was. Or the engine is gone.
                    self.stage = WatchStage::Over;
                    return None;
                },
                line = lines.recv(), if self.lines_open => match line {
                    Ok(line) => return Some(Ok(event(Event::Log(convert::line(&line))))),
                    // The newest are still to come.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => self.lines_open = false,
                },
                changed = async {
                    sleep_until(self.next_progress).await;
                    progress.changed().await
                }, if self.progress_open => {
                    self.progress_open = changed.is_ok();
                    let latest = progress.borrow_and_update().clone();
                    if let Some(latest) = latest.filter(|_| changed.is_ok()) {
                        self.next_progress = Instant::now() + PAUSE;
                        let latest = convert::progress(&latest);
                        return Some(Ok(event(Event::Progress(latest))));
                    }
                }
            }
        }
    }

    fn record(&self) -> v1::WatchCommandResponse {
        let latest = self.watching.progress.borrow().clone();
        let record = self.watching.record.borrow();
        let latest = latest.filter(|_| !record.has_ended());
        event(Event::Record(convert::record(&record, latest.as_ref())))
    }

    /// A line that is there already.
    fn said(&mut self) -> Option<v1::LogLine> {
        loop {
            match self.watching.lines.try_recv() {
                Ok(line) => return Some(convert::line(&line)),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// The first milestone that is still to be sent.
    fn milestone(&mut self) -> Option<v1::Milestone> {
        let record = self.watching.record.borrow_and_update();
        let next = record
            .milestones
            .iter()
            .find(|milestone| milestone.sequence > self.after)?;
        self.after = next.sequence;
        Some(convert::milestone(next))
    }
}

fn event(event: Event) -> v1::WatchCommandResponse {
    v1::WatchCommandResponse { event: Some(event) }
}
