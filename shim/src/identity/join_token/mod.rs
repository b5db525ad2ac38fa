//! Join tokens: what a machine proves with that it is a node.
//!
//! A token is `ID.SECRET`. The identifier is no secret; of the secret only a digest is
//! [kept](JoinTokens). A token has an end and a number of uses, and may be bound to a node or to
//! labels that the node must have.

use std::collections::BTreeMap;
use std::time::Duration;

use ironic_text::Secret;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::agents::TokenDigest;

mod store;

pub use store::{JoinTokenStoreError, JoinTokens};

/// The longest life of a token.
pub const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The life of a token about which nothing was said.
pub const USUAL_LIFE: Duration = Duration::from_secs(3600);
/// How long a token that has ended is remembered, for the reason of a refusal.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Hexadecimal digits of an identifier.
const ID_DIGITS: usize = 12;

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRecord {
    /// What the token begins with.
    pub id: String,
    secret_sha256: TokenDigest,
    /// The only node that it is for.
    pub node_uuid: Option<String>,
    /// Labels that the node must have.
    pub labels: BTreeMap<String, String>,
    /// How often it may be used.
    pub max_uses: u32,
    /// How often it was used.
    pub uses: u32,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What a new token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJoinToken {
    /// The only node that it is for, as a UUID.
    pub node_uuid: Option<String>,
    /// Labels that the node must have.
    pub labels: BTreeMap<String, String>,
    /// How often it may be used.
    pub max_uses: u32,
    /// How long it may be used.
    pub lifetime: Duration,
}

/// Why no token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidNewJoinToken {
    /// The node is not a UUID.
    #[error("node_uuid is not a UUID")]
    Node,
    /// No use is left from the beginning.
    #[error("max_uses is 0: a token is used at least once")]
    Uses,
    /// It would end at once, or never.
    #[error("the lifetime must be between a second and 365 days")]
    Lifetime,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JoinTokenRefusal {
    /// There is no such token, or its secret is another one.
    #[error(
        "the join token is not known here: see that join_token was copied whole, and to the right gateway"
    )]
    Invalid,
    /// It was revoked.
    #[error("the join token {0} was revoked: make a new one")]
    Revoked(String),
    /// Its time is over.
    #[error("the join token {0} has ended: make a new one")]
    Expired(String),
    /// It was used as often as it may be.
    #[error("the join token {id} was used as often as it may be ({max_uses}): make a new one")]
    Used {
        /// Which one.
        id: String,
        /// How often it may be used.
        max_uses: u32,
    },
    /// It is for another node.
    #[error("the join token {0} is for another node than the machine says it is")]
    OtherNode(String),
    /// The node does not have the labels.
    #[error(
        "the join token {id} is for nodes with {missing}, which node {node_uuid} does not have"
    )]
    Labels {
        /// Which one.
        id: String,
        /// The node.
        node_uuid: String,
        /// `KEY=VALUE`, the first one that is missing.
        missing: String,
    },
    /// Nobody says which node the machine is.
    #[error(
        "neither the join token {0} nor the machine says which node it is: make a token for one node"
    )]
    NodeUnknown(String),
}

impl NewJoinToken {
    /// Makes the token and what is kept of it.
    ///
    /// # Errors
    /// It makes no sense.
    pub(super) fn make(
        self,
        now: UnixTime,
    ) -> Result<(JoinTokenRecord, Secret), InvalidNewJoinToken> {
        let node_uuid = self.node_uuid.as_deref().map(canonical);
        let node_uuid = match node_uuid {
            Some(None) => return Err(InvalidNewJoinToken::Node),
            Some(uuid) => uuid,
            None => None,
        };
        if self.max_uses == 0 {
            return Err(InvalidNewJoinToken::Uses);
        }
        if self.lifetime < Duration::from_secs(1) || self.lifetime > MAX_LIFETIME {
            return Err(InvalidNewJoinToken::Lifetime);
        }
        let mut id = Uuid::new_v4().simple().to_string();
        id.truncate(ID_DIGITS);
        let (one, two) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let secret = format!("{one}{two}");
        let record = JoinTokenRecord {
            secret_sha256: TokenDigest::of(&secret),
            node_uuid,
            labels: self.labels,
            max_uses: self.max_uses,
            uses: 0,
            created_at: now.as_secs(),
            expires_at: now.as_secs().saturating_add(self.lifetime.as_secs()),
            revoked: false,
            id,
        };
        let token = Secret::new(format!("{}.{secret}", record.id));
        Ok((record, token))
    }
}

impl JoinTokenRecord {
    /// Whether it is still worth remembering.
    fn is_remembered(&self, now: UnixTime) -> bool {
        now.as_secs() < self.expires_at.saturating_add(REMEMBERED.as_secs())
    }

    /// Which node the holder of `secret` is, who says that it is `claimed`. Says nothing to who
    /// does not hold the secret.
    fn admit(
        &self,
        secret: &str,
        claimed: Option<&str>,
        labels: impl FnOnce(&str) -> BTreeMap<String, String>,
        now: UnixTime,
    ) -> Result<String, JoinTokenRefusal> {
        if !self.secret_sha256.is_of(secret) {
            return Err(JoinTokenRefusal::Invalid);
        }
        let id = || self.id.clone();
        if self.revoked {
            return Err(JoinTokenRefusal::Revoked(id()));
        }
        if now.as_secs() >= self.expires_at {
            return Err(JoinTokenRefusal::Expired(id()));
        }
        if self.uses >= self.max_uses {
            let max_uses = self.max_uses;
            return Err(JoinTokenRefusal::Used { id: id(), max_uses });
        }
        let node_uuid = match (self.node_uuid.as_deref(), claimed) {
            (Some(bound), Some(claimed)) if bound != claimed => {
                return Err(JoinTokenRefusal::OtherNode(id()));
            }
            (Some(node), _) | (None, Some(node)) => node.to_owned(),
            (None, None) => return Err(JoinTokenRefusal::NodeUnknown(id())),
        };
        if !self.labels.is_empty() {
            let has = labels(&node_uuid);
            let missing = self
                .labels
                .iter()
                .find(|(key, value)| has.get(*key) != Some(value));
            if let Some((key, value)) = missing {
                let missing = format!("{key}={value}");
                return Err(JoinTokenRefusal::Labels {
                    id: id(),
                    node_uuid,
                    missing,
                });
            }
        }
        Ok(node_uuid)
    }
}

/// A UUID in the one form that is compared.
pub(super) fn canonical(text: &str) -> Option<String> {
    let uuid = Uuid::try_parse(text).ok()?;
    Some(uuid.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const OTHER: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3302";

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn new() -> NewJoinToken {
        NewJoinToken {
            node_uuid: None,
            labels: BTreeMap::new(),
            max_uses: 2,
            lifetime: Duration::from_secs(100),
        }
    }

    fn labels(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("rack".to_owned(), text.to_owned())])
    }

    #[test]
    fn each_reason_to_refuse_has_its_sentence() {
        use JoinTokenRefusal as R;
        let (record, token) = new().make(at(1000)).unwrap();
        let (id, secret) = token.reveal().split_once('.').unwrap();
        assert_eq!(id, record.id);
        let admit = |record: &JoinTokenRecord, secret: &str, claimed, now| {
            record.admit(secret, claimed, |_| labels("a"), at(now))
        };
        let ok = Ok(NODE.to_owned());
        assert_eq!(admit(&record, secret, Some(NODE), 1099), ok);
        assert_eq!(
            admit(&record, secret, Some(NODE), 1100),
            Err(R::Expired(id.into()))
        );
        assert_eq!(
            admit(&record, secret, None, 1000),
            Err(R::NodeUnknown(id.into()))
        );
        let bound = JoinTokenRecord {
            node_uuid: Some(NODE.into()),
            ..record.clone()
        };
        assert_eq!(admit(&bound, secret, None, 1000), ok);
        assert_eq!(
            admit(&bound, secret, Some(OTHER), 1000),
            Err(R::OtherNode(id.into()))
        );
        let revoked = JoinTokenRecord {
            revoked: true,
            ..record.clone()
        };
        assert_eq!(
            admit(&revoked, secret, Some(NODE), 1000),
            Err(R::Revoked(id.into()))
        );
        let used = JoinTokenRecord {
            uses: 2,
            ..record.clone()
        };
        let refused = admit(&used, secret, Some(NODE), 1000).unwrap_err();
        assert!(matches!(refused, R::Used { max_uses: 2, .. }));
        let racked = |rack| JoinTokenRecord {
            labels: labels(rack),
            ..record.clone()
        };
        assert_eq!(admit(&racked("a"), secret, Some(NODE), 1000), ok);
        let refused = admit(&racked("b"), secret, Some(NODE), 1000).unwrap_err();
        assert!(refused.to_string().contains("rack=b"), "{refused}");
        // A caller without the secret learns none of this.
        for record in [&record, &bound, &revoked, &used, &racked("b")] {
            for wrong in ["", "x", &secret[1..], &secret.to_uppercase()] {
                assert_eq!(admit(record, wrong, None, 2000), Err(R::Invalid));
            }
        }
    }

    #[test]
    fn tokens_that_make_no_sense_are_not_made() {
        use InvalidNewJoinToken as I;
        let cases = [
            (
                NewJoinToken {
                    node_uuid: Some("node-1".into()),
                    ..new()
                },
                I::Node,
            ),
            (
                NewJoinToken {
                    max_uses: 0,
                    ..new()
                },
                I::Uses,
            ),
            (
                NewJoinToken {
                    lifetime: Duration::ZERO,
                    ..new()
                },
                I::Lifetime,
            ),
            (
                NewJoinToken {
                    lifetime: MAX_LIFETIME + Duration::from_secs(1),
                    ..new()
                },
                I::Lifetime,
            ),
        ];
        for (new, error) in cases {
            assert_eq!(new.make(at(0)).unwrap_err(), error);
        }
        let upper = NewJoinToken {
            node_uuid: Some(NODE.to_uppercase()),
            ..new()
        };
        let (record, token) = upper.make(at(0)).unwrap();
        assert_eq!(record.node_uuid.as_deref(), Some(NODE));
        let kept = serde_json::to_string(&record).unwrap();
        let (_, secret) = token.reveal().split_once('.').unwrap();
        assert!(secret.len() == 64 && !kept.contains(secret), "{kept}");
    }
}
