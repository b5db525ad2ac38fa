//! Parts of an image beside the stream of it, from servers that answer range requests.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::{ImageStream, LATER, MAX_RETRY_AFTER, PartError};
use crate::system::fetch::{FetchResponse, RangeRequest};

impl ImageStream<'_> {
    /// `length` bytes from `first` on, whatever the stream has reached: by a request of its own
    /// to the server of the stream, for the same version of the document where that has a
    /// name. These bytes go past the checksum, so they are a hint and nothing more.
    ///
    /// # Errors
    /// The server cannot do this, or does not answer.
    pub(in crate::image) async fn part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
        let mut retries = self.download.retry.retries;
        loop {
            let asked = self.ask_for_part(first, length);
            let error = match self.download.within(&self.id, asked).await? {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            if retries == 0 || !error.is_temporary() {
                return Err(error);
            }
            tracing::warn!(
                image = %self.id, first, length, reason = %error, "no part of the image"
            );
            retries -= 1;
            let wish = match error {
                PartError::Later { after, .. } => after.unwrap_or_default().min(MAX_RETRY_AFTER),
                _ => std::time::Duration::ZERO,
            };
            let pause = tokio::time::sleep(wish.max(self.download.retry.interval));
            self.download.within(&self.id, pause).await?;
        }
    }

    async fn ask_for_part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut request = self.download.template.clone();
        request.url.clone_from(&self.servers[self.next].url);
        let validator = self.validator_of(self.next);
        request.part = Some(RangeRequest {
            offset: first,
            length: Some(length),
            validator: validator.clone(),
        });
        let answer = self.download.fetch.open(request).await?;
        self.check_part(&answer, first, validator.as_deref())?;
        collect(answer, first, length).await
    }

    /// Refuses an answer that is not a part from `first` on of the image that the stream is of.
    fn check_part(
        &self,
        answer: &FetchResponse,
        first: u64,
        validator: Option<&str>,
    ) -> Result<(), PartError> {
        match (answer.status, answer.part) {
            (206, Some((from, whole))) if from == first => {
                if let (Some(before), Some(now)) = (self.length, whole)
                    && before != now
                {
                    return Err(PartError::LengthChanged { before, now });
                }
                let now = answer.validator.as_deref();
                if validator.is_some() && now.is_some() && now != validator {
                    return Err(PartError::VersionChanged);
                }
                Ok(())
            }
            (status, _) if status >= 500 || LATER.contains(&status) => Err(PartError::Later {
                status,
                after: answer.retry_after,
            }),
            (200, _) => Err(PartError::WholeFile),
            (status, _) => Err(PartError::Status(status)),
        }
    }
}

/// Exactly `length` bytes of an answer.
async fn collect(mut answer: FetchResponse, first: u64, length: u64) -> Result<Bytes, PartError> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece.map_err(PartError::BrokeOff)?);
        if bytes.len() as u64 > length {
            return Err(PartError::TooLong);
        }
    }
    if bytes.len() as u64 == length {
        Ok(bytes.freeze())
    } else {
        Err(PartError::TooShort {
            received: bytes.len(),
            length,
            first,
        })
    }
}
