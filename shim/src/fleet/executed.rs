//! Reads the record of a command off the answer that passes through.

use ironic_agent_protocol::v1;
use prost::Message;

use super::frame::{FrameHead, HEAD};

/// The largest answer that is read. A record of a command that was only begun has some hundred
/// bytes; one with a large result is not kept for this.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Reads an `ExecuteCommandResponse` from the parts in which it comes.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    bytes: Vec<u8>,
    is_done: bool,
}

impl AnswerReader {
    /// Takes the next part. Answers the record when it is whole.
    pub(super) fn read(&mut self, part: &[u8]) -> Option<v1::CommandRecord> {
        if self.is_done {
            return None;
        }
        self.bytes
            .extend_from_slice(&part[..part.len().min(MAX_RESPONSE_BYTES)]);
        let (head, message) = FrameHead::split(&self.bytes)?;
        let is_plain = !head.is_compressed && head.length <= MAX_RESPONSE_BYTES - HEAD;
        if is_plain && message.len() < head.length {
            return None;
        }
        let record = is_plain
            .then(|| {
                v1::ExecuteCommandResponse::decode(&message[..head.length])
                    .ok()?
                    .command
            })
            .flatten();
        self.is_done = true;
        self.bytes = Vec::new();
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(response: &v1::ExecuteCommandResponse) -> Vec<u8> {
        crate::fleet::frame::framed(&response.encode_to_vec())
    }

    fn response(id: &str) -> v1::ExecuteCommandResponse {
        v1::ExecuteCommandResponse {
            command: Some(v1::CommandRecord {
                id: id.into(),
                ..v1::CommandRecord::default()
            }),
            plan: None,
        }
    }

    #[test]
    fn record_is_read_however_it_is_cut() {
        let bytes = framed(&response("the-identifier"));
        for size in 1..=bytes.len() {
            let mut reader = AnswerReader::default();
            let mut records = bytes.chunks(size).filter_map(|part| reader.read(part));
            assert_eq!(records.next().unwrap().id, "the-identifier");
            assert_eq!(records.next(), None);
        }
    }

    #[test]
    fn other_answers_pass_unread() {
        let mut large = response("x");
        large.command.as_mut().unwrap().name = "n".repeat(MAX_RESPONSE_BYTES);
        let plan = v1::ExecuteCommandResponse::default();
        let mut packed = framed(&response("x"));
        packed[0] = 1;
        for bytes in [
            framed(&large),
            framed(&plan),
            packed,
            vec![0; 7],
            vec![255; 70_000],
        ] {
            let mut reader = AnswerReader::default();
            for part in bytes.chunks(1000) {
                assert_eq!(reader.read(part), None);
                assert!(reader.bytes.capacity() <= 4 * MAX_RESPONSE_BYTES);
            }
        }
    }
}
