use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic_types::StatusExt;

use super::*;

type Answers = Pin<Box<dyn Stream<Item = WatchAnswer> + Send>>;

fn watch(fleet: &Fleet, labels: &[(&str, &str)], token: Option<&str>) -> Answers {
    watch_until(fleet, labels, token, CancellationToken::new())
}

fn watch_until(
    fleet: &Fleet,
    labels: &[(&str, &str)],
    token: Option<&str>,
    stop: CancellationToken,
) -> Answers {
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let watch = NodeWatch {
        fleet: fleet.clone(),
        labels: self::labels(labels),
        view: NodeView::default(),
        policy: None,
        resume: token.map(|token| fleet.resume(token).unwrap()),
        permit,
        stop,
    };
    Box::pin(watch.start())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// What a caller makes of a watch: the nodes that it knows, and where it is.
#[derive(Default)]
struct Mirror {
    nodes: std::collections::BTreeMap<String, v1::Node>,
    kinds: Vec<v1::NodeEventKind>,
    token: String,
    bookmarks: usize,
    is_complete: bool,
}

impl Mirror {
    fn take(&mut self, message: v1::WatchNodesResponse) {
        match message.content.unwrap() {
            Content::Nodes(list) => {
                assert!(list.nodes.len() <= BATCH);
                assert_eq!(list.complete, !message.resume_token.is_empty());
                self.is_complete = list.complete;
                for node in list.nodes {
                    self.nodes.insert(node.uuid.clone(), node);
                }
            }
            Content::Events(events) => {
                assert!((1..=BATCH).contains(&events.events.len()));
                for event in events.events {
                    self.kinds.push(event.kind());
                    let node = event.node.clone().unwrap();
                    if event.kind() == v1::NodeEventKind::Removed {
                        self.nodes.remove(&node.uuid);
                    } else {
                        self.nodes.insert(node.uuid.clone(), node);
                    }
                }
            }
            Content::Bookmark(_) => self.bookmarks += 1,
        }
        if !message.resume_token.is_empty() {
            self.token = message.resume_token;
        }
    }

    /// Reads what is there. Answers the status with which the watch has ended.
    async fn read(&mut self, answers: &mut Answers) -> Option<Status> {
        loop {
            // In paused time this is when nothing else can run.
            match tokio::time::timeout(2 * PACE, answers.next()).await {
                Err(_) => return None,
                Ok(Some(Ok(message))) => self.take(message),
                Ok(Some(Err(status))) => return Some(status),
                Ok(None) => panic!("a watch ends with a status"),
            }
        }
    }

    fn assert_equals(&self, fleet: &Fleet) {
        let nodes = fleet.snapshot(|_| true).nodes;
        let nodes: Vec<_> = nodes.iter().map(AsRef::as_ref).collect();
        let ours: Vec<_> = self.nodes.values().collect();
        assert_eq!(ours, nodes);
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

fn attach(fleet: &Fleet, node: &str) {
    fleet.attached(node, v1::NodeAttachment::default());
}

#[tokio::test(start_paused = true)]
async fn list_comes_first_and_then_each_change() {
    let fleet = Fleet::default();
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[], None);
    mirror.read(&mut answers).await;
    assert!(mirror.is_complete, "an empty list is complete");
    for number in 0..250 {
        fleet.add(&format!("{number:03}"));
    }
    attach(&fleet, "007");
    fleet.undescribe("008");
    mirror.read(&mut answers).await;
    assert_eq!(mirror.kinds.len(), 252);
    mirror.assert_equals(&fleet);
    let mut second = Mirror::default();
    let mut answers = watch(&fleet, &[], None);
    second.read(&mut answers).await;
    assert!(second.kinds.is_empty() && second.is_complete);
    assert_eq!(second.token, mirror.token);
    second.assert_equals(&fleet);
}

#[tokio::test(start_paused = true)]
async fn resumed_watch_hears_what_came_in_between_and_no_list() {
    let fleet = Fleet::default();
    fleet.add("a");
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[], None);
    mirror.read(&mut answers).await;
    drop(answers);
    attach(&fleet, "a");
    fleet.add("b");
    mirror.is_complete = false;
    let token = mirror.token.clone();
    mirror.read(&mut watch(&fleet, &[], Some(&token))).await;
    assert_eq!(
        mirror.kinds,
        [v1::NodeEventKind::Attached, v1::NodeEventKind::Added]
    );
    assert!(!mirror.is_complete);
    mirror.assert_equals(&fleet);
}

#[tokio::test(start_paused = true)]
async fn token_of_another_process_or_from_too_long_ago_is_refused() {
    let fleet = Fleet::keeping(4);
    fleet.add("a");
    let mut mirror = Mirror::default();
    mirror.read(&mut watch(&fleet, &[], None)).await;
    for token in [
        "",
        "x",
        "x-1",
        &Fleet::default().resume_token(ChangeNumber(0)),
    ] {
        let error = fleet.resume(token).unwrap_err();
        assert_eq!(reason(&error.into()), "WATCH_EXPIRED", "{token}");
    }
    for number in 0..5 {
        fleet.add(&number.to_string());
    }
    let token = mirror.token.clone();
    let status = mirror.read(&mut watch(&fleet, &[], Some(&token))).await;
    assert_eq!(reason(&status.unwrap()), "WATCH_EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_while_nothing_that_is_selected_changes() {
    let fleet = Fleet::default();
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[("rack", "1")], None);
    mirror.read(&mut answers).await;
    let first = mirror.token.clone();
    fleet.add("a");
    mirror.read(&mut answers).await;
    assert_eq!((mirror.bookmarks, &mirror.token), (0, &first));
    tokio::time::sleep(BOOKMARK_PERIOD).await;
    mirror.read(&mut answers).await;
    assert_eq!(mirror.bookmarks, 1);
    assert_ne!(mirror.token, first);
}

#[tokio::test(start_paused = true)]
async fn node_whose_labels_change_enters_and_leaves_a_watch() {
    use v1::NodeEventKind::{Added, Attached, Changed, Removed};
    let fleet = Fleet::default();
    fleet.add("a");
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[("rack", "1")], None);
    fleet.describe("a", "one", &labels(&[("rack", "1"), ("row", "1")]));
    fleet.describe("a", "one", &labels(&[("rack", "1")]));
    attach(&fleet, "a");
    fleet.describe("a", "one", &labels(&[("rack", "2")]));
    attach(&fleet, "a");
    mirror.read(&mut answers).await;
    // The list was taken when the watch first ran, or before: either way the node has left.
    let expected = [Added, Changed, Attached, Removed];
    assert!(expected.ends_with(&mirror.kinds), "{:?}", mirror.kinds);
    assert!(mirror.nodes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn watcher_that_does_not_read_is_cut_off_and_resumes_without_loss() {
    let fleet = Fleet::default();
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[], None);
    mirror.read(&mut answers).await;
    for number in 0..1000 {
        fleet.add(&number.to_string());
    }
    tokio::time::sleep(STALL + STALL_PERIOD * 2).await;
    let status = mirror.read(&mut answers).await.unwrap();
    assert_eq!(reason(&status), "WATCHER_SLOW");
    assert!(mirror.nodes.len() < 1000);
    let token = mirror.token.clone();
    mirror.read(&mut watch(&fleet, &[], Some(&token))).await;
    mirror.assert_equals(&fleet);
    assert_eq!(mirror.kinds.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn watcher_whose_place_is_about_to_be_lost_is_cut_off_at_once() {
    let fleet = Fleet::keeping(1000);
    let mut mirror = Mirror::default();
    let mut answers = watch(&fleet, &[], None);
    mirror.read(&mut answers).await;
    for number in 0..300 {
        fleet.add(&number.to_string());
    }
    tokio::time::sleep(STALL_PERIOD * 2).await;
    for number in 300..1100 {
        fleet.add(&number.to_string());
    }
    tokio::time::sleep(STALL_PERIOD * 2).await;
    let status = mirror.read(&mut answers).await.unwrap();
    assert_eq!(reason(&status), "WATCHER_SLOW");
    let token = mirror.token.clone();
    mirror.read(&mut watch(&fleet, &[], Some(&token))).await;
    mirror.assert_equals(&fleet);
}

#[tokio::test(start_paused = true)]
async fn watch_of_a_gateway_that_stops_ends_with_a_reason_also_where_nobody_reads() {
    let fleet = Fleet::default();
    for number in 0..1000 {
        fleet.add(&number.to_string());
    }
    let stop = CancellationToken::new();
    let (mut idle, mut full) = (Mirror::default(), Mirror::default());
    let mut watches = [(); 2].map(|()| watch_until(&fleet, &[], None, stop.clone()));
    idle.read(&mut watches[0]).await;
    stop.cancel();
    for (mirror, answers) in [&mut idle, &mut full].into_iter().zip(&mut watches) {
        let status = mirror.read(answers).await.unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(reason(&status), "GATEWAY_STOPPING");
    }
    assert!(idle.is_complete && !full.is_complete);
}
