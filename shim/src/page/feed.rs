//! What a viewer is sent: the list of nodes, and then what changes, as server-sent events.
//!
//! Changes are coalesced: of each node only the latest state within a period. A viewer that does
//! not read is noticed by the watch beneath, which is cut off while its place is still kept.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::watch_nodes_response::Content;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::event::{event, retry};
use super::node_json::{EventJson, NodeRow, PageTime};
use crate::fleet::{HistoryEntry, NodeWatch, WatchMessage};
use crate::metrics::GaugeGuard;

/// For how long changes are gathered before they are sent.
const PERIOD: Duration = Duration::from_millis(250);

/// Nodes or events beyond which a message does not grow.
const MAX_MESSAGE_ITEMS: usize = 1000;

/// When nothing has changed for this long, the viewer hears that the gateway lives. The page gives
/// a connection up that is silent for three times as long.
const BEAT: Duration = Duration::from_secs(10);

/// What a feed begins with.
#[derive(Debug, Serialize)]
pub(super) struct Hello {
    pub(super) now: PageTime,
    pub(super) version: String,
    /// The last events, oldest first, where a list of nodes follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<Vec<EventJson>>,
}

/// A part of the list of nodes.
#[derive(Debug, Serialize)]
struct ListPart<'a> {
    first: bool,
    last: bool,
    rows: Vec<NodeRow<'a>>,
}

/// What has changed. What was removed counts before the rows.
#[derive(Debug, Serialize)]
struct Changes<'a> {
    now: PageTime,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    removed: &'a [String],
    rows: Vec<NodeRow<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    events: &'a [EventJson],
}

/// The gateway lives.
#[derive(Debug, Serialize)]
struct PageBeat {
    now: PageTime,
}

/// Changes that are gathered.
#[derive(Debug, Default)]
struct Gathered {
    nodes: HashMap<String, v1::Node>,
    removed: Vec<String>,
    events: Vec<EventJson>,
    token: String,
}

/// One viewer's feed.
pub(super) struct Feed {
    messages: Pin<Box<dyn Stream<Item = WatchMessage> + Send>>,
    hello: Option<Hello>,
    /// A message that was read while changes were gathered, and is no change.
    ahead: Option<v1::WatchNodesResponse>,
    has_listed: bool,
    _counted: GaugeGuard,
}

impl Feed {
    /// Begins with this, and shows what the watch says.
    pub(super) fn new(hello: Hello, watch: NodeWatch, counted: GaugeGuard) -> Self {
        Self {
            messages: Box::pin(watch.messages()),
            hello: Some(hello),
            ahead: None,
            has_listed: false,
            _counted: counted,
        }
    }

    /// The events as bytes. It ends when the watch is cut off: the browser asks again with the last
    /// identifier that it has read.
    pub(super) fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures_util::stream::unfold(self, |mut feed| async move {
            let bytes = feed.next().await?;
            Some((bytes, feed))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(hello) = self.hello.take() {
            let hello = event("hello", "", &hello);
            return Some([retry(), hello].concat().into());
        }
        loop {
            let message = match self.ahead.take() {
                Some(message) => message,
                None => match timeout(BEAT, self.messages.next()).await {
                    Err(_) => return Some(beat("")),
                    Ok(message) => unless_cut_off(message?)?,
                },
            };
            let token = message.resume_token;
            match message.content {
                Some(Content::Nodes(list)) => return Some(self.list(&list, &token)),
                Some(Content::Events(events)) => {
                    let mut gathered = Gathered::default();
                    gathered.add(events, token);
                    self.gather(&mut gathered).await;
                    return Some(gathered.event());
                }
                Some(Content::Bookmark(_)) => return Some(beat(&token)),
                None => {}
            }
        }
    }

    /// Adds what changes within the period.
    async fn gather(&mut self, gathered: &mut Gathered) {
        let until = Instant::now() + PERIOD;
        while gathered.nodes.len() < MAX_MESSAGE_ITEMS && gathered.events.len() < MAX_MESSAGE_ITEMS
        {
            // At its end the stream answers the same again, and the feed ends after this event.
            let Ok(Some(Ok(message))) = timeout_at(until, self.messages.next()).await else {
                return;
            };
            match message.content {
                Some(Content::Events(events)) => gathered.add(events, message.resume_token),
                _ => {
                    self.ahead = Some(message);
                    return;
                }
            }
        }
    }

    fn list(&mut self, list: &v1::NodeList, token: &str) -> Bytes {
        let first = !self.has_listed;
        self.has_listed = true;
        let part = ListPart {
            first,
            last: list.complete,
            rows: list.nodes.iter().map(NodeRow::of).collect(),
        };
        event("nodes", token, &part)
    }
}

impl Gathered {
    fn add(&mut self, events: v1::NodeEvents, token: String) {
        for event in events.events {
            let (kind, at) = (event.kind(), event.at.unwrap_or_default());
            let Some(node) = event.node else {
                continue;
            };
            if kind != v1::NodeEventKind::CommandProgress {
                let entry = HistoryEntry::new(kind, &node, at);
                self.events.push(EventJson::of(node.uuid.clone(), entry));
            }
            if kind == v1::NodeEventKind::Removed {
                self.nodes.remove(&node.uuid);
                self.removed.push(node.uuid);
            } else {
                self.nodes.insert(node.uuid.clone(), node);
            }
        }
        self.token = token;
    }

    fn event(&self) -> Bytes {
        let changes = Changes {
            now: PageTime::now(),
            removed: &self.removed,
            rows: self.nodes.values().map(NodeRow::of).collect(),
            events: &self.events,
        };
        event("changes", &self.token, &changes)
    }
}

fn beat(token: &str) -> Bytes {
    let now = PageTime::now();
    event("beat", token, &PageBeat { now })
}

fn unless_cut_off(message: WatchMessage) -> Option<v1::WatchNodesResponse> {
    message
        .inspect_err(|error| debug!(%error, "a viewer of the page is cut off"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::fleet::{Fleet, FleetAccess, FleetCaller, FleetViewer, Labels};
    use crate::metrics::Metrics;

    type Events = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

    /// An event as a browser reads it.
    #[derive(Debug)]
    struct Read {
        id: Option<String>,
        name: String,
        data: Value,
    }

    fn feed(fleet: &Fleet, token: Option<&str>) -> Events {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let hello = Hello {
            now: PageTime::now(),
            version: "1".into(),
            events: None,
        };
        let viewer = FleetViewer::new(fleet.clone(), FleetAccess::default());
        let watch = viewer
            .watch(&FleetCaller::default(), token, permit)
            .unwrap();
        let feed = Feed::new(hello, watch, Metrics::new().page_viewer());
        Box::pin(feed.into_stream())
    }

    async fn read(events: &mut Events) -> Option<Read> {
        let bytes = events.next().await?;
        let text = std::str::from_utf8(&bytes).unwrap();
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.map(str::to_owned)
        };
        Some(Read {
            id: field("id: "),
            name: field("event: ").unwrap(),
            data: serde_json::from_str(&field("data: ").unwrap()).unwrap(),
        })
    }

    fn rows(read: &Read) -> &Vec<Value> {
        read.data["rows"].as_array().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_comes_in_parts_and_then_changes_are_coalesced() {
        let fleet = Fleet::default();
        for number in 0..150 {
            fleet.add(&format!("{number:03}"));
        }
        let mut events = feed(&fleet, None);
        assert_eq!(read(&mut events).await.unwrap().name, "hello");
        let first = read(&mut events).await.unwrap();
        let second = read(&mut events).await.unwrap();
        let flags = |read: &Read| (read.data["first"].clone(), read.data["last"].clone());
        assert_eq!(flags(&first), (true.into(), false.into()));
        assert_eq!(flags(&second), (false.into(), true.into()));
        assert_eq!((rows(&first).len(), rows(&second).len()), (100, 50));
        assert!(first.id.is_none() && second.id.is_some());
        for round in 0..3 {
            for node in ["001", "002"] {
                fleet.describe(node, &format!("{node}-{round}"), &Labels::new());
            }
        }
        fleet.undescribe("003");
        let changes = read(&mut events).await.unwrap();
        assert_eq!(changes.name, "changes");
        let mut names: Vec<_> = rows(&changes).iter().map(|row| &row["name"]).collect();
        names.sort_by_key(|name| name.to_string());
        assert_eq!(names, ["001-2", "002-2"]);
        assert_eq!(changes.data["removed"], serde_json::json!(["003"]));
        assert_eq!(changes.data["events"].as_array().unwrap().len(), 7);
        // Nothing happens: a sign of life, then one that keeps the place.
        let silent = read(&mut events).await.unwrap();
        assert_eq!((silent.name.as_str(), silent.id), ("beat", None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_browser_that_comes_back_hears_what_it_missed_and_no_list() {
        let fleet = Fleet::default();
        fleet.add("a");
        let mut events = feed(&fleet, None);
        read(&mut events).await;
        let token = read(&mut events).await.unwrap().id.unwrap();
        drop(events);
        fleet.add("b");
        let mut events = feed(&fleet, Some(&token));
        read(&mut events).await;
        let missed = read(&mut events).await.unwrap();
        assert_eq!(missed.name, "changes");
        assert_eq!(rows(&missed)[0]["uuid"], "b");
        // A token of another process, or none at all: the list.
        for token in ["other-1", "", "x"] {
            let mut events = feed(&fleet, Some(token));
            read(&mut events).await;
            let list = read(&mut events).await.unwrap();
            assert_eq!((list.name.as_str(), rows(&list).len()), ("nodes", 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_does_not_read_is_cut_off_and_holds_nothing() {
        let fleet = Fleet::default();
        let mut events = feed(&fleet, None);
        read(&mut events).await;
        read(&mut events).await;
        fleet.add("a");
        tokio::time::sleep(Duration::from_secs(1)).await;
        fleet.add("b");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let mut last = None;
        while let Some(event) = read(&mut events).await {
            last = event.id.or(last);
        }
        // It goes on from what it has read.
        let mut events = feed(&fleet, last.as_deref());
        read(&mut events).await;
        let next = read(&mut events).await.unwrap();
        assert_ne!(next.name, "nodes");
    }
}
