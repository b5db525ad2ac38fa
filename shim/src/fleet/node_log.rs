//! The latest changes of nodes, in their order: what a watch goes on from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ironic_agent_protocol::v1;
use prost_types::Timestamp;

/// Labels of a node.
pub type Labels = HashMap<String, String>;

/// A change of a node.
#[derive(Debug, Clone)]
pub(super) struct NodeChange {
    pub(super) kind: v1::NodeEventKind,
    /// The node after the change; before it if the node was removed.
    pub(super) node: Arc<v1::Node>,
    pub(super) at: Timestamp,
    /// The labels before the change, if they were others.
    pub(super) labels_before: Option<Labels>,
    /// The order that a caller gave, of kind `Ordered`.
    pub(super) order: Option<Arc<v1::NodeOrder>>,
}

/// Changes after the place that was asked for are not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired;

/// The changes by number. Pure: it looks at no clock and wakes nobody.
///
/// Of the progress of a node only the latest is kept, so numbers have gaps.
#[derive(Debug)]
pub(super) struct NodeLog {
    changes: BTreeMap<u64, NodeChange>,
    /// The number of the progress that is kept, by node.
    progress: HashMap<String, u64>,
    latest: u64,
    /// The greatest number that is gone although nothing has replaced it.
    forgotten: u64,
    most: usize,
}

impl NodeLog {
    /// An empty log, which keeps at most `most` changes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            changes: BTreeMap::new(),
            progress: HashMap::new(),
            latest: 0,
            forgotten: 0,
            most,
        }
    }

    /// The number of the latest change; 0 before the first.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// The number that the next change gets.
    pub(super) fn next(&self) -> u64 {
        self.latest + 1
    }

    /// Appends a change.
    pub(super) fn push(&mut self, change: NodeChange) {
        self.latest += 1;
        let replaced = match change.kind {
            v1::NodeEventKind::CommandProgress => {
                let uuid = change.node.uuid.clone();
                self.progress.insert(uuid, self.latest)
            }
            // It says more than the progress before it.
            v1::NodeEventKind::CommandEnded => self.progress.remove(&change.node.uuid),
            _ => None,
        };
        if let Some(replaced) = replaced {
            self.changes.remove(&replaced);
        }
        self.changes.insert(self.latest, change);
        while self.changes.len() > self.most {
            if let Some((number, gone)) = self.changes.pop_first() {
                self.forgotten = number;
                if self.progress.get(&gone.node.uuid) == Some(&number) {
                    self.progress.remove(&gone.node.uuid);
                }
            }
        }
    }

    /// At most `most` changes after a number, with their numbers.
    ///
    /// # Errors
    /// One of them is not kept any more, or the number is none of this log.
    pub(super) fn after(
        &self,
        number: u64,
        most: usize,
    ) -> Result<Vec<(u64, NodeChange)>, Expired> {
        if number < self.forgotten || number > self.latest {
            return Err(Expired);
        }
        let later = self.changes.range(number + 1..);
        let later = later.map(|(number, change)| (*number, change.clone()));
        Ok(later.take(most).collect())
    }

    /// Whether more than three quarters of what may be kept came after a number: a reader there
    /// must hurry.
    pub(super) fn is_far_behind(&self, number: u64) -> bool {
        let most = self.most / 4 * 3;
        let later = self.latest - number.min(self.latest);
        // The difference of the numbers is a quick answer for most; the count knows the gaps.
        usize::try_from(later).unwrap_or(usize::MAX) > most
            && self.changes.range(number + 1..).nth(most).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(kind: v1::NodeEventKind, node: &str, sequence: u64) -> NodeChange {
        NodeChange {
            kind,
            node: Arc::new(v1::Node {
                uuid: node.into(),
                sequence,
                ..v1::Node::default()
            }),
            at: Timestamp::default(),
            labels_before: None,
            order: None,
        }
    }

    #[test]
    fn only_the_latest_progress_of_a_node_is_kept() {
        use v1::NodeEventKind::{CommandEnded, CommandProgress, CommandStarted};
        let mut log = NodeLog::new(10);
        log.push(change(CommandStarted, "a", 1));
        for number in 2..100 {
            log.push(change(CommandProgress, "a", number));
        }
        log.push(change(CommandProgress, "b", 100));
        let numbers = |log: &NodeLog, after| -> Vec<u64> {
            let changes = log.after(after, 50).unwrap();
            changes.into_iter().map(|(number, _)| number).collect()
        };
        assert_eq!(numbers(&log, 0), [1, 99, 100]);
        log.push(change(CommandEnded, "a", 101));
        assert_eq!(numbers(&log, 0), [1, 100, 101]);
        assert_eq!(numbers(&log, 100), [101]);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Push(bool, u8),
        Read,
    }

    proptest! {
        /// A reader that is not refused misses no change but progress that a later one of the
        /// same node replaced.
        #[test]
        fn what_is_read_is_whole_or_refused(
            acts in prop::collection::vec(
                prop_oneof![
                    4 => (any::<bool>(), 0..4_u8).prop_map(|(progress, node)| Act::Push(progress, node)),
                    1 => Just(Act::Read),
                ],
                0..200,
            ),
            most in 1..20_usize,
            batch in 1..5_usize,
        ) {
            let mut log = NodeLog::new(most);
            let mut pushed: Vec<(bool, u8)> = Vec::new();
            let mut cursor = 0;
            for act in acts {
                match act {
                    Act::Push(progress, node) => {
                        let kind = if progress {
                            v1::NodeEventKind::CommandProgress
                        } else {
                            v1::NodeEventKind::Attached
                        };
                        log.push(change(kind, &node.to_string(), log.next()));
                        pushed.push((progress, node));
                        prop_assert!(log.changes.len() <= most);
                        prop_assert!(log.progress.len() <= most);
                    }
                    Act::Read => match log.after(cursor, batch) {
                        Err(Expired) => cursor = log.latest(),
                        Ok(changes) => {
                            let last = changes.last().map_or(cursor, |(number, _)| *number);
                            for number in cursor + 1..=last {
                                let at = usize::try_from(number).unwrap() - 1;
                                let (progress, node) = pushed[at];
                                let seen = changes.iter().any(|(other, _)| *other == number);
                                let replaced = progress
                                    && pushed[at + 1..].contains(&(true, node));
                                prop_assert!(seen || replaced, "{number} is missing");
                            }
                            cursor = last;
                        }
                    },
                }
            }
            prop_assert!(log.after(log.latest() + 1, 1).is_err());
        }
    }
}
