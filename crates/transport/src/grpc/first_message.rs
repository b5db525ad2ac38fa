//! A bound for the first message of a call, whose other messages may be longer or more: who calls
//! says in it who it is, and has proved nothing when it is read.

use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use tonic::Status;
use tonic::body::Body;

/// gRPC writes a byte and the length before each message.
const PREFIX: usize = 5;

/// The prefix of the first message, as far as it has come.
#[derive(Debug)]
struct FirstMessage {
    prefix: [u8; PREFIX],
    seen: usize,
    most: usize,
}

impl FirstMessage {
    /// Looks at the next bytes of the request.
    ///
    /// # Errors
    /// They say that the message is too long. Nothing of it is kept then.
    fn look(&mut self, data: &[u8]) -> Result<(), Status> {
        let missing = &mut self.prefix[self.seen..];
        if missing.is_empty() {
            return Ok(());
        }
        let count = missing.len().min(data.len());
        missing[..count].copy_from_slice(&data[..count]);
        self.seen += count;
        let [_, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length);
        if self.seen == PREFIX && usize::try_from(length).is_ok_and(|length| length > self.most) {
            return Err(Status::resource_exhausted(format!(
                "the first message has {length} bytes, and may have {}",
                self.most
            )));
        }
        Ok(())
    }
}

/// The body of a request, which ends with an error where its first message is longer than `most`
/// bytes.
pub(super) fn bounded(body: Body, most: usize) -> Body {
    let mut first = FirstMessage {
        prefix: [0; PREFIX],
        seen: 0,
        most,
    };
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            first.look(data)?;
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
    async fn read(bytes: &[u8], piece: usize) -> Result<usize, Status> {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| BodyStream::new(Full::from(piece.to_vec())))
            .collect();
        let frames = futures_util::stream::iter(pieces).flatten();
        let body = Body::new(StreamBody::new(frames));
        let collected = bounded(body, 10).collect().await;
        collected.map(|collected| collected.to_bytes().len())
    }

    #[tokio::test]
    async fn a_long_first_message_is_refused_by_its_prefix_and_later_ones_pass() {
        for piece in [1, 2, 4, 5, 6, 100] {
            let fitting = [message(10), message(11)].concat();
            assert_eq!(read(&fitting, piece).await.unwrap(), fitting.len());
            // Nothing of the message need have come.
            let long = &message(11)[..PREFIX];
            let status = read(long, piece).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{piece}");
        }
    }
}
