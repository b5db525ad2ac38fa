//! Server-sent events: texts that a browser reads from an answer that does not end.

use bytes::Bytes;
use serde::Serialize;
use tracing::error;

/// After a lost connection a browser waits for this long, in ms, before it asks again.
const RETRY: u32 = 2000;

/// One event with its data as JSON. A browser repeats the last `id`, which is empty where none is
/// meant, when it asks again.
pub(super) fn event<T: Serialize>(name: &str, id: &str, data: &T) -> Bytes {
    let json = match serde_json::to_string(data) {
        Ok(json) => json,
        // Maps with text keys and plain values always have a text.
        Err(error) => {
            error!(%error, event = name, "an event of the page cannot be written");
            return Bytes::from_static(b":\n\n");
        }
    };
    let mut text = String::with_capacity(json.len() + 96);
    if !id.is_empty() {
        text.push_str(&format!("id: {id}\n"));
    }
    // JSON has no line ends, which would end the data.
    text.push_str(&format!("event: {name}\ndata: {json}\n\n"));
    Bytes::from(text)
}

/// How long the browser waits before it asks again.
pub(super) fn retry() -> Bytes {
    Bytes::from(format!("retry: {RETRY}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_an_event_early() {
        let data = ["a\n\nevent: forged\ndata: {}", "\r", "\u{2028}"];
        let bytes = event("nodes", "e-1", &data);
        let text = std::str::from_utf8(&bytes).unwrap();
        let lines: Vec<_> = text.split(['\n', '\r']).collect();
        assert_eq!(lines[..2], ["id: e-1", "event: nodes"]);
        assert!(lines[2].starts_with("data: ["), "{text}");
        assert_eq!(lines[3..], ["", ""]);
        let read: Vec<String> = serde_json::from_str(&lines[2]["data: ".len()..]).unwrap();
        assert_eq!(read, data);
        assert!(!event("beat", "", &data).starts_with(b"id"));
    }
}
