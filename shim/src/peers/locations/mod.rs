//! Where each node is attached, as far as this replica knows. Pure: it asks nobody.
//!
//! Of a node the latest claim counts, in whatever order claims arrive. A claim stays when its
//! attachment has ended or its replica has died, so that the answer of a replica that was
//! superseded long ago is not believed afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use crate::agents::AttachmentId;

/// Where a node is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// To this replica.
    Here,
    /// To the replica with this URL.
    At(Arc<str>),
}

/// The source of a claim of where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimSource {
    /// The replica that holds it, over mutual TLS.
    Holder,
    /// A message of the directory, which its other users could have sent.
    Directory,
}

/// What replicas say of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimLine {
    /// The node.
    pub node_uuid: String,
    /// Its latest attachment to the replica that says this.
    #[serde(flatten)]
    pub claim: Claim,
    /// Whether it is attached now.
    pub attached: bool,
    /// Whether its service has ended: it was rescued or locked down.
    #[serde(default)]
    pub closed: bool,
}

/// What a claim changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: it is known, or a later one is.
    Nothing,
    /// The node is elsewhere, or no longer where it was.
    Moved,
    /// The same by an attachment that is later than what was known.
    Attached,
}

#[derive(Debug)]
struct NodeEntry {
    claim: Claim,
    /// Where it is now; `None` when it is away.
    location: Option<Location>,
    /// The replica that holds it by its own word and could not be reached.
    unreached: Option<Arc<str>>,
    /// It was attached to this replica, which speaks for the claim.
    is_ours: bool,
    is_closed: bool,
    source: ClaimSource,
    revision: u64,
}

/// The table of all nodes.
#[derive(Debug, Default)]
pub struct Locations {
    nodes: HashMap<String, NodeEntry>,
    /// Grows with each change of a node that is ours.
    revision: u64,
}

impl Locations {
    /// Whether an attachment is known that is later than this one and within its boot. What only the
    /// directory has said keeps no agent out: any of its users could have.
    #[must_use]
    pub fn is_superseded(&self, node: &str, id: &AttachmentId) -> bool {
        self.proved(node).is_some_and(|entry| {
            entry.claim.boot_id == id.boot_id && entry.claim.counter > id.counter
        })
    }

    /// What is known of a node from its holder, or here.
    fn proved(&self, node: &str) -> Option<&NodeEntry> {
        let entry = self.nodes.get(node);
        entry.filter(|entry| entry.source == ClaimSource::Holder)
    }

    /// An agent has attached to this replica. The revision of the change.
    pub fn attach(&mut self, node: &str, id: &AttachmentId) -> u64 {
        self.revision += 1;
        let claim = Claim::next(id, self.proved(node).map(|entry| &entry.claim));
        let entry = NodeEntry {
            claim,
            location: Some(Location::Here),
            unreached: None,
            is_ours: true,
            is_closed: false,
            source: ClaimSource::Holder,
            revision: self.revision,
        };
        self.nodes.insert(node.to_owned(), entry);
        self.revision
    }

    /// An attachment to this replica has ended. The revision of the change, unless another
    /// attachment has taken its place.
    pub fn detach(&mut self, node: &str, id: &AttachmentId, is_closed: bool) -> Option<u64> {
        let entry = self.nodes.get_mut(node)?;
        if entry.location != Some(Location::Here) || !entry.claim.is_of(id) {
            return None;
        }
        self.revision += 1;
        entry.location = None;
        entry.is_closed = is_closed;
        entry.revision = self.revision;
        Some(self.revision)
    }

    /// Takes in what a replica says of a node. Of what the directory says only that a node is attached
    /// there is of use, because its replica is asked then.
    pub fn learn(&mut self, line: &ClaimLine, replica: &Arc<str>, source: ClaimSource) -> Learned {
        if source == ClaimSource::Directory && !line.attached {
            return Learned::Nothing;
        }
        let location = line.attached.then(|| Location::At(Arc::clone(replica)));
        let new = NodeEntry {
            claim: line.claim.clone(),
            location,
            unreached: None,
            is_ours: false,
            is_closed: line.closed,
            source,
            revision: 0,
        };
        match self.nodes.get_mut(&line.node_uuid) {
            None => {
                self.nodes.insert(line.node_uuid.clone(), new);
                Learned::Attached
            }
            Some(known) if known.claim.is_superseded_by(&line.claim) => {
                *known = new;
                Learned::Attached
            }
            // It says so itself, whatever others have said.
            Some(known)
                if known.source == ClaimSource::Directory
                    && source == ClaimSource::Holder
                    && line.attached =>
            {
                *known = new;
                Learned::Moved
            }
            Some(known) if known.claim == line.claim && !known.is_ours => {
                let moved = known.location != new.location || known.is_closed != new.is_closed;
                let source = match known.source {
                    ClaimSource::Holder => ClaimSource::Holder,
                    ClaimSource::Directory => source,
                };
                *known = NodeEntry { source, ..new };
                if moved {
                    Learned::Moved
                } else {
                    Learned::Nothing
                }
            }
            Some(_) => Learned::Nothing,
        }
    }

    /// Where a node is.
    #[must_use]
    pub fn find(&self, node: &str) -> Option<Location> {
        self.nodes.get(node)?.location.clone()
    }

    /// The nodes that a replica holds; without one, those that any other replica holds.
    #[must_use]
    pub fn elsewhere(&self, replica: Option<&str>) -> Vec<String> {
        let held = self.nodes.iter().filter(|(_, entry)| match replica {
            Some(replica) => is_at(entry, replica),
            None => matches!(entry.location, Some(Location::At(_))),
        });
        held.map(|(node, _)| node.clone()).collect()
    }

    /// Whether some replica has said something of a node.
    #[must_use]
    pub fn knows(&self, node: &str) -> bool {
        self.nodes.contains_key(node)
    }

    /// Whether the service of a node has ended.
    #[must_use]
    pub fn is_closed(&self, node: &str) -> bool {
        let entry = self.nodes.get(node);
        entry.is_some_and(|entry| entry.is_closed && entry.location.is_none())
    }

    /// A replica cannot be reached: the node is not there as far as anybody knows. What the replica
    /// has said itself can be [tried again](Self::retry).
    pub fn unreachable(&mut self, node: &str, replica: &Arc<str>) {
        if let Some(entry) = self.nodes.get_mut(node)
            && is_at(entry, replica)
        {
            entry.location = None;
            let is_its_word = entry.source == ClaimSource::Holder;
            entry.unreached = is_its_word.then(|| Arc::clone(replica));
        }
    }

    /// Believes once more a replica that holds a node by its own word and could not be reached: for
    /// the time when nobody can be asked who holds it.
    pub fn retry(&mut self, node: &str) -> Option<Arc<str>> {
        let entry = self.nodes.get_mut(node)?;
        let replica = entry.unreached.take()?;
        entry.location = Some(Location::At(Arc::clone(&replica)));
        Some(replica)
    }

    /// A replica says itself that a node is not there. What only the directory has said of it is
    /// forgotten: its holder would know.
    pub fn not_there(&mut self, node: &str, replica: &str) {
        let is_hearsay = |entry: &NodeEntry| {
            is_at(entry, replica) && entry.source == ClaimSource::Directory && !entry.is_ours
        };
        if self.nodes.get(node).is_some_and(is_hearsay) {
            self.nodes.remove(node);
        } else if let Some(entry) = self.nodes.get_mut(node)
            && is_at(entry, replica)
        {
            entry.location = None;
        }
    }

    /// What this replica answers when it is asked for a node.
    #[must_use]
    pub fn line(&self, node: &str) -> Option<ClaimLine> {
        let entry = self.nodes.get(node).filter(|entry| entry.is_ours)?;
        Some(ClaimLine {
            node_uuid: node.to_owned(),
            claim: entry.claim.clone(),
            attached: entry.location == Some(Location::Here),
            closed: entry.is_closed,
        })
    }

    /// At most `most` lines that this replica speaks for and that are newer than a revision, and
    /// the revision of the last of them, from which to go on.
    #[must_use]
    pub fn since(&self, revision: u64, most: usize) -> (Vec<ClaimLine>, u64) {
        let nodes = self.nodes.iter();
        let mut newer: Vec<_> = nodes
            .filter(|(_, entry)| entry.is_ours && entry.revision > revision)
            .map(|(node, entry)| (entry.revision, node.as_str()))
            .collect();
        newer.sort_unstable();
        newer.truncate(most);
        let last = newer.last().map_or(revision, |(revision, _)| *revision);
        let lines = newer.into_iter().filter_map(|(_, node)| self.line(node));
        (lines.collect(), last)
    }

    /// Nodes that are attached to this replica, and to others.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let locations = self
            .nodes
            .values()
            .filter_map(|node| node.location.as_ref());
        let (here, there): (Vec<_>, Vec<_>) =
            locations.partition(|location| **location == Location::Here);
        (here.len(), there.len())
    }
}

fn is_at(entry: &NodeEntry, replica: &str) -> bool {
    matches!(&entry.location, Some(Location::At(url)) if **url == *replica)
}

#[cfg(test)]
mod tests;
