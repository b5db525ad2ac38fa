//! Which of two attachments of a node came later, also where two replicas hold them.

use serde::{Deserialize, Serialize};

use crate::agents::{AttachmentId, LogicalTime};

/// An attachment as replicas speak of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Identifies the boot of the machine.
    pub boot_id: String,
    /// Grows from one attachment of a boot to the next.
    pub counter: u64,
    /// Later than every attachment of the node that its replica knew of.
    pub generation: LogicalTime,
}

impl Claim {
    /// The claim of an attachment that begins now, where `known` is the latest one.
    #[must_use]
    pub fn next(id: &AttachmentId, known: Option<&Self>) -> Self {
        let known = known.map(|known| known.generation).unwrap_or_default();
        Self {
            boot_id: id.boot_id.clone(),
            counter: id.counter,
            generation: known.next(),
        }
    }

    /// Whether this is the claim of an attachment.
    #[must_use]
    pub fn is_of(&self, id: &AttachmentId) -> bool {
        self.boot_id == id.boot_id && self.counter == id.counter
    }

    /// Whether the other one is later. Within a boot the agent itself counts; between boots the
    /// generation decides.
    #[must_use]
    pub fn is_superseded_by(&self, other: &Self) -> bool {
        if self.boot_id == other.boot_id {
            (self.counter, self.generation) < (other.counter, other.generation)
        } else {
            (self.generation, &self.boot_id) < (other.generation, &other.boot_id)
        }
    }
}
