use tonic::Status;
use tonic_types::StatusExt;
use v1::NodeEventKind as Kind;

use super::*;

const A: &str = "0a000000-0000-4000-8000-000000000000";
const B: &str = "0b000000-0000-4000-8000-000000000000";

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn table() -> NodeTable {
    NodeTable::new(100)
}

fn kinds(table: &NodeTable) -> Vec<Kind> {
    let changes = table.log.after(0, 100).unwrap();
    changes.into_iter().map(|(_, change)| change.kind).collect()
}

fn attachment(boot: &str) -> v1::NodeAttachment {
    v1::NodeAttachment {
        boot_id: boot.into(),
        since: Some(at(1)),
        ..v1::NodeAttachment::default()
    }
}

fn command(id: &str, state: v1::CommandState, done: Option<u64>) -> v1::NodeCommand {
    v1::NodeCommand {
        id: id.into(),
        state: state.into(),
        progress: done.map(|done| v1::Progress {
            done,
            ..v1::Progress::default()
        }),
        ..v1::NodeCommand::default()
    }
}

fn reason(error: FleetError) -> String {
    Status::from(error).get_details_error_info().unwrap().reason
}

#[test]
fn nodes_are_found_by_uuid_and_by_a_name_that_one_has() {
    let mut table = table();
    let none = Labels::new();
    table.describe(A, "one", &none, at(1));
    table.describe(B, "two", &none, at(1));
    for text in [A, &A.to_uppercase(), &A.replace('-', ""), "one"] {
        assert_eq!(table.resolve(text, |_| true).unwrap().uuid, A, "{text}");
    }
    table.describe(B, "one", &none, at(2));
    assert_eq!(
        reason(table.resolve("one", |_| true).unwrap_err()),
        "NODE_NAME_AMBIGUOUS"
    );
    for text in ["two", "", &"x".repeat(9000)] {
        let error = table.resolve(text, |_| true).unwrap_err();
        assert!(error.to_string().len() < 500);
        assert_eq!(reason(error), "NODE_NOT_FOUND");
    }
    table.remove(B, at(3));
    assert_eq!(table.resolve("one", |_| true).unwrap().uuid, A);
    assert_eq!(
        kinds(&table),
        [Kind::Added, Kind::Added, Kind::Changed, Kind::Removed]
    );
}

#[test]
fn a_repeated_description_is_one_event() {
    let mut table = table();
    let labels = Labels::from([("rack".to_owned(), "1".to_owned())]);
    assert!(table.add(A, at(1)) && !table.add(A, at(2)));
    assert!(table.describe(A, "one", &labels, at(2)));
    assert!(!table.describe(A, "one", &labels, at(3)));
    assert!(table.closed(A, at(4)) && !table.closed(A, at(5)));
    table.heard(A, at(6));
    assert_eq!(kinds(&table), [Kind::Added, Kind::Changed, Kind::Closed]);
    assert_eq!(table.get(A).unwrap().last_seen_at, Some(at(6)));
}

#[test]
fn late_end_of_an_earlier_attachment_changes_nothing() {
    let mut table = table();
    let first = table.attached(A, attachment("b"));
    let second = table.attached(A, attachment("c"));
    assert!(!table.lost(A, first, at(2)));
    let node = table.get(A).unwrap();
    assert_eq!(node.state(), v1::NodeState::Attached);
    assert_eq!(node.attachment.as_ref().unwrap().boot_id, "c");
    assert!(table.lost(A, second, at(3)) && !table.lost(A, second, at(4)));
    let node = table.get(A).unwrap();
    assert_eq!(node.state(), v1::NodeState::Away);
    assert_eq!(
        (node.attachment.as_ref(), node.last_seen_at),
        (None, Some(at(3)))
    );
}

#[test]
fn closed_node_is_served_again_when_its_agent_attaches() {
    let mut table = table();
    let first = table.attached(A, attachment("b"));
    table.closed(A, at(2));
    table.lost(A, first, at(3));
    assert_eq!(table.get(A).unwrap().state(), v1::NodeState::Closed);
    table.attached(A, attachment("c"));
    assert_eq!(table.get(A).unwrap().state(), v1::NodeState::Attached);
}

#[test]
fn a_command_begins_once_goes_on_and_ends_once() {
    use v1::CommandState::{Failed, Running, Succeeded};
    let mut table = table();
    let mut note = |id, state, done| table.command(A, command(id, state, done), at(1));
    assert!(note("1", Running, None));
    assert!(!note("1", Running, None));
    assert!(note("1", Running, Some(1)));
    assert!(note("1", Running, Some(2)));
    assert!(note("1", Succeeded, Some(2)));
    // What comes late says nothing new.
    assert!(!note("1", Running, Some(1)));
    assert!(!note("1", Succeeded, Some(2)));
    // One that was answered when it was done.
    assert!(note("2", Failed, None));
    assert!(!note("1", Succeeded, Some(3)));
    assert_eq!(
        kinds(&table),
        [
            Kind::CommandStarted,
            Kind::CommandEnded,
            Kind::CommandStarted,
            Kind::CommandEnded,
        ]
    );
    assert_eq!(table.get(A).unwrap().command.as_ref().unwrap().id, "2");
}

#[test]
fn changes_carry_the_labels_that_a_node_had() {
    let mut table = table();
    let labels = |rack: &str| Labels::from([("rack".to_owned(), rack.to_owned())]);
    table.describe(A, "", &labels("1"), at(1));
    table.describe(A, "", &labels("2"), at(2));
    table.describe(A, "name", &labels("2"), at(3));
    let before: Vec<_> = table
        .log
        .after(0, 10)
        .unwrap()
        .into_iter()
        .map(|(_, change)| change.labels_before)
        .collect();
    assert_eq!(before, [None, Some(labels("1")), None]);
    let uuids: Vec<_> = table.after("").map(|node| node.uuid.as_str()).collect();
    assert_eq!(uuids, [A]);
    assert_eq!(table.after(A).count(), 0);
}

#[test]
fn a_node_that_another_gateway_holds_is_shown_there_until_it_comes_here() {
    let mut table = table();
    table.move_to(A, Some("https://b"), at(1));
    let shown = |table: &NodeTable| {
        let node = table.get(A).unwrap();
        (node.state(), node.gateway.clone())
    };
    let there = (v1::NodeState::Elsewhere, "https://b".to_owned());
    assert_eq!(shown(&table), there);
    table.move_to(A, Some("https://b"), at(2));
    let here = table.attached(A, attachment("1"));
    assert_eq!(shown(&table), (v1::NodeState::Attached, String::new()));
    // It is heard of before the connection here has ended.
    table.move_to(A, Some("https://b"), at(3));
    assert_eq!(shown(&table).0, v1::NodeState::Attached);
    table.lost(A, here, at(4));
    assert_eq!(shown(&table), there);
    table.move_to(A, None, at(5));
    assert_eq!(shown(&table), (v1::NodeState::Away, String::new()));
    assert_eq!(
        kinds(&table),
        [
            Kind::Elsewhere,
            Kind::Attached,
            Kind::Lost,
            Kind::Elsewhere,
            Kind::Lost
        ]
    );
}
