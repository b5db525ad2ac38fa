//! The logs, as `FollowLogs` streams them: a reader that does not read is cut off.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use ironic_agent_protocol::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{convert, status};
use crate::logs::follow::{FollowOptions, FollowedLogs, LogFollower};

/// Readers at once. Each may hold a descriptor and a message of 64 KiB.
const READERS: usize = 16;

/// How long a message may wait for its reader.
const STALL: Duration = Duration::from_secs(30);

/// Lets a bounded number of readers follow the logs.
#[derive(Debug, Clone)]
pub(super) struct LogReaders {
    logs: FollowedLogs,
    permits: Arc<Semaphore>,
}

impl LogReaders {
    /// Readers of these logs.
    pub(super) fn new(logs: FollowedLogs) -> Self {
        Self {
            logs,
            permits: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Starts a reader, which ends when the stream is dropped, or when `stop` says that the
    /// agent stops.
    pub(super) fn start(
        &self,
        options: &FollowOptions,
        stop: CancellationToken,
    ) -> Result<impl Stream<Item = Result<v1::FollowLogsResponse, Status>> + Send + use<>, Status>
    {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| status::too_many_log_readers())?;
        let follower = LogFollower::open(&self.logs, options);
        let follower = follower.map_err(|error| status::follow(&error))?;
        let (sender, messages) = mpsc::channel(1);
        let (end, ending) = oneshot::channel();
        let reader = LogStream {
            follower,
            sender,
            stop,
            _permit: permit,
        };
        tokio::spawn(async move {
            if let Err(status) = reader.run().await {
                // A caller that has hung up does not hear why.
                let _ = end.send(status);
            }
        });
        let ending = ending.map(Result::ok).into_stream();
        let ending = ending.filter_map(|status| std::future::ready(status.map(Err)));
        Ok(ReceiverStream::new(messages).map(Ok).chain(ending))
    }
}

/// A reader at work.
#[derive(Debug)]
struct LogStream {
    follower: LogFollower,
    sender: mpsc::Sender<v1::FollowLogsResponse>,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl LogStream {
    /// Goal: each event that the caller wants, in order. Exit: the end of what is wanted, the
    /// caller is gone or does not read, or the agent stops.
    async fn run(mut self) -> Result<(), Status> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(status::shutting_down()),
                () = self.sender.closed() => return Ok(()),
                next = self.follower.next() => next,
            };
            let Some(event) = next.map_err(|error| status::follow(&error))? else {
                return Ok(());
            };
            let message = convert::log_event(event, &self.follower.cursor());
            let sent = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(status::shutting_down()),
                sent = tokio::time::timeout(STALL, self.sender.send(message)) => sent,
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(status::log_reader_slow()),
            }
        }
    }
}
