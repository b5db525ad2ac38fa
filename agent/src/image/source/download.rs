//! How documents are downloaded: with which settings, and how hard it is tried.

use std::time::Duration;

use tokio::time::Instant;

use super::{ImageStream, SourceError};
use crate::config::AgentConfig;
use crate::system::fetch::{Fetch, FetchRequest};
use crate::task::Task;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct RetryPolicy {
    /// Attempts after the first, without progress in between.
    pub(in crate::image) retries: u32,
    /// Pause between two attempts.
    pub(in crate::image) interval: Duration,
    /// When everything must be here, and how long that is from the beginning.
    pub(in crate::image) deadline: Option<(Instant, Duration)>,
}

impl RetryPolicy {
    /// The policy for what is downloaded from now on.
    fn from_config(config: &AgentConfig) -> Self {
        let limit = config.image_download_max_duration;
        Self {
            retries: config.image_download_connection_retries,
            interval: config.image_download_connection_retry_interval,
            deadline: (limit > Duration::ZERO).then(|| (Instant::now() + limit, limit)),
        }
    }
}

/// What every download of one document or image has in common.
#[derive(Debug, Clone)]
pub(in crate::image) struct Download<'a> {
    /// The network.
    pub(in crate::image) fetch: &'a dyn Fetch,
    /// Progress and cancellation.
    pub(in crate::image) task: &'a Task,
    /// Everything but the URL and the range.
    pub(in crate::image) template: FetchRequest,
    /// How hard to try.
    pub(in crate::image) retry: RetryPolicy,
}

impl<'a> Download<'a> {
    /// Downloads with the agent's own settings and nothing of the node's. Its deadline, if the
    /// configuration has one, runs from now on.
    pub(in crate::image) fn new(
        fetch: &'a dyn Fetch,
        config: &AgentConfig,
        task: &'a Task,
    ) -> Self {
        Self {
            fetch,
            task,
            template: request_with_settings(config),
            retry: RetryPolicy::from_config(config),
        }
    }

    /// Connects to the first of `urls` that answers. `id` names the document in messages.
    ///
    /// # Errors
    /// None does, or the task is cancelled.
    pub(in crate::image) async fn open(
        self,
        id: &str,
        urls: &[String],
    ) -> Result<ImageStream<'a>, SourceError> {
        ImageStream::open(self, id, urls).await
    }

    /// Does something unless the task is cancelled or the download takes too long.
    ///
    /// # Errors
    /// Which of the two.
    pub(in crate::image) async fn within<T>(
        &self,
        id: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, SourceError> {
        let too_late = async {
            match self.retry.deadline {
                Some((deadline, _)) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Ends with the first of the three; a cancelled task must not go on for one more piece.
        tokio::select! {
            biased;
            () = self.task.cancelled() => Err(self.task.cancellation().into()),
            () = too_late => {
                let limit = self.retry.deadline.map(|(_, limit)| limit).unwrap_or_default();
                Err(SourceError::TimedOut { id: id.to_owned(), limit })
            }
            done = work => Ok(done),
        }
    }
}

/// A request with the agent's own settings and nothing of the node's.
fn request_with_settings(config: &AgentConfig) -> FetchRequest {
    FetchRequest {
        tls: config.common.client_tls(),
        timeout: config.image_download_connection_timeout,
        ..FetchRequest::default()
    }
}
