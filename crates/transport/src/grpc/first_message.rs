//! Bounds for the messages of a call. Who calls says in the first of them who it is, and has proved
//! nothing when it is read; what follows may be longer, and is kept until it is whole.

use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use tonic::Status;
use tonic::body::Body;

/// gRPC writes a byte and the length before each message.
const PREFIX: usize = 5;

/// The largest messages of a request, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSizes {
    /// The first one.
    pub first: usize,
    /// Each that follows, where the request as a whole does not bound it.
    pub later: Option<usize>,
}

/// Where the bytes of a request are in its messages.
#[derive(Debug)]
struct MessageLengths {
    prefix: [u8; PREFIX],
    /// How much of the prefix has come.
    seen: usize,
    /// How much of the message behind it is to come.
    left: usize,
    /// What the next message may have; nothing more is bounded without it.
    most: Option<usize>,
    later: Option<usize>,
}

impl MessageLengths {
    fn new(sizes: MessageSizes) -> Self {
        Self {
            prefix: [0; PREFIX],
            seen: 0,
            left: 0,
            most: Some(sizes.first),
            later: sizes.later,
        }
    }

    /// Looks at the next bytes of the request.
    ///
    /// # Errors
    /// They say that a message is too long. Nothing of it is kept then.
    fn look(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while let Some(most) = self.most
            && !data.is_empty()
        {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = &data[skipped..];
            let missing = &mut self.prefix[self.seen..];
            let count = missing.len().min(data.len());
            missing[..count].copy_from_slice(&data[..count]);
            data = &data[count..];
            self.seen += count;
            if self.seen == PREFIX {
                self.begin(most)?;
            }
        }
        Ok(())
    }

    /// A message begins whose prefix is whole.
    fn begin(&mut self, most: usize) -> Result<(), Status> {
        let [_, length @ ..] = self.prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > most {
            return Err(Status::resource_exhausted(format!(
                "a message has {length} bytes, and may have {most}"
            )));
        }
        (self.seen, self.left, self.most) = (0, length, self.later);
        Ok(())
    }
}

/// The body of a request, which ends with an error where a message is longer than it may be.
pub(super) fn bounded(body: Body, sizes: MessageSizes) -> Body {
    let mut lengths = MessageLengths::new(sizes);
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            lengths.look(data)?;
        }
        Ok::<_, Status>(frame)
    });
    Body::new(StreamBody::new(frames))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    use super::*;

    /// A message of zeros behind its prefix.
    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX + length, 0);
        bytes
    }

    /// What is read of these bytes, when they come in pieces of some size.
    async fn read(bytes: &[u8], piece: usize, later: Option<usize>) -> Result<usize, Status> {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| BodyStream::new(Full::from(piece.to_vec())))
            .collect();
        let frames = futures_util::stream::iter(pieces).flatten();
        let body = Body::new(StreamBody::new(frames));
        let collected = bounded(body, MessageSizes { first: 10, later })
            .collect()
            .await;
        collected.map(|collected| collected.to_bytes().len())
    }

    #[tokio::test]
    async fn a_long_first_message_is_refused_by_its_prefix_and_later_ones_pass() {
        for piece in [1, 2, 4, 5, 6, 100] {
            let fitting = [message(10), message(11)].concat();
            assert_eq!(read(&fitting, piece, None).await.unwrap(), fitting.len());
            // Nothing of the message need have come.
            let long = &message(11)[..PREFIX];
            let status = read(long, piece, None).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{piece}");
        }
    }

    #[tokio::test]
    async fn each_later_message_may_have_a_bound_of_its_own() {
        for piece in [1, 2, 4, 5, 6, 100] {
            let fitting = [message(3), message(0), message(20), message(0), message(20)].concat();
            assert_eq!(
                read(&fitting, piece, Some(20)).await.unwrap(),
                fitting.len()
            );
            let long = [fitting.as_slice(), &message(21)[..PREFIX]].concat();
            let status = read(&long, piece, Some(20)).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{piece}");
        }
    }
}
