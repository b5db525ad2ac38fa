//! Whether a gateway is of use to agents and conductors, judged from an [`Observation`].
//!
//! Ready means that a load balancer may send agents and conductors here. Ironic being away makes
//! no gateway unready: every gateway would be at the same moment, so a load balancer would have
//! nowhere to send agents to; their connections would be cut, and all of them would come back at
//! the instant at which Ironic does. The gateway defers what agents ask for in the meantime.

use serde_json::{Map, Value, json};

use super::Observation;

/// Descriptors without which no new agent is accepted for long.
const FEW_DESCRIPTORS: usize = 64;

/// From which share of the descriptors on somebody should look, in percent.
const MANY_DESCRIPTORS: usize = 90;

/// From when on a certificate that ends is named.
pub const ENDS_SOON_SECONDS: i64 = 14 * 24 * 3600;

/// How well something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadinessLevel {
    /// As it should.
    Ready,
    /// Agents and conductors are served, and somebody should look.
    Degraded,
    /// Agents or conductors are not served.
    Unready,
}

impl ReadinessLevel {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }
}

/// One thing that the gateway needs, and how well it works.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CheckedDependency {
    name: &'static str,
    level: ReadinessLevel,
    /// What is wrong; empty when nothing is.
    reason: String,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness(Vec<CheckedDependency>);

impl Readiness {
    /// Judges an observation.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let checks = [
            ("sessions", sessions(observation)),
            ("ironic", ironic(observation)),
            ("directory", directory(observation)),
            ("state_dir", state_dir(observation)),
            ("descriptors", descriptors(observation)),
            ("certificates", certificates(observation)),
        ];
        let checks = checks.into_iter().map(|(name, problem)| {
            let (level, reason) = problem.unwrap_or((ReadinessLevel::Ready, String::new()));
            CheckedDependency {
                name,
                level,
                reason,
            }
        });
        Self(checks.collect())
    }

    /// The worst of all.
    #[must_use]
    pub fn level(&self) -> ReadinessLevel {
        let levels = self.0.iter().map(|check| check.level);
        levels.max().unwrap_or(ReadinessLevel::Ready)
    }

    /// For a person and for programs: the whole, and each dependency with what is wrong.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut dependencies = Map::new();
        for check in &self.0 {
            let mut entry = Map::new();
            entry.insert("status".to_owned(), check.level.word().into());
            if !check.reason.is_empty() {
                entry.insert("reason".to_owned(), check.reason.as_str().into());
            }
            dependencies.insert(check.name.to_owned(), entry.into());
        }
        json!({"status": self.level().word(), "dependencies": dependencies})
    }
}

/// What is wrong, if anything is.
type Problem = Option<(ReadinessLevel, String)>;

fn sessions(observation: &Observation) -> Problem {
    observation.is_draining.then(|| {
        let reason = "the gateway is draining: agents are asked to attach elsewhere".to_owned();
        (ReadinessLevel::Unready, reason)
    })
}

fn ironic(observation: &Observation) -> Problem {
    (observation.ironic == Some(false)).then(|| {
        let reason = "Ironic does not answer at api_url: heartbeats and lookups are deferred";
        (ReadinessLevel::Degraded, reason.to_owned())
    })
}

fn directory(observation: &Observation) -> Problem {
    let gateways = observation.gateways?;
    (!gateways.directory_connected).then(|| {
        let reason = "NATS does not answer at directory: requests for nodes that no gateway has \
                      announced are held";
        (ReadinessLevel::Degraded, reason.to_owned())
    })
}

fn state_dir(observation: &Observation) -> Problem {
    let reason = observation.state_dir.clone()?;
    Some((ReadinessLevel::Degraded, reason))
}

fn descriptors(observation: &Observation) -> Problem {
    let (open, limit) = (observation.descriptors.open, observation.descriptors.limit);
    let level = if open.saturating_add(FEW_DESCRIPTORS) > limit {
        ReadinessLevel::Unready
    } else if open.saturating_mul(100) > limit.saturating_mul(MANY_DESCRIPTORS) {
        ReadinessLevel::Degraded
    } else {
        return None;
    };
    let reason = format!(
        "{open} of {limit} descriptors are open: raise the limit of open files (LimitNOFILE), or \
         add a gateway"
    );
    Some((level, reason))
}

fn certificates(observation: &Observation) -> Problem {
    let first = observation
        .certificates
        .iter()
        .min_by_key(|certificate| certificate.ends_in_seconds)?;
    let name = first.name;
    match first.ends_in_seconds {
        ended if ended <= 0 => {
            let reason = format!("the certificate {name} has ended: replace it and send SIGHUP");
            Some((ReadinessLevel::Unready, reason))
        }
        soon if soon < ENDS_SOON_SECONDS => {
            let days = soon / (24 * 3600);
            let reason =
                format!("the certificate {name} ends in {days} days: replace it and send SIGHUP");
            Some((ReadinessLevel::Degraded, reason))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CertificateEnd, Descriptors, GatewaysState};
    use super::*;

    fn healthy() -> Observation {
        Observation {
            ironic: Some(true),
            descriptors: Descriptors {
                open: 100,
                limit: 1024,
            },
            ..Observation::default()
        }
    }

    fn ends_in(ends_in_seconds: i64) -> Observation {
        let name = "grpc";
        Observation {
            certificates: vec![CertificateEnd {
                name,
                ends_in_seconds,
            }],
            ..healthy()
        }
    }

    fn open(open: usize) -> Observation {
        Observation {
            descriptors: Descriptors { open, limit: 1024 },
            ..healthy()
        }
    }

    #[test]
    fn problems_are_named_and_only_those_of_agents_are_unready() {
        use ReadinessLevel::{Degraded, Ready, Unready};
        let with = |change: fn(&mut Observation)| {
            let mut observation = healthy();
            change(&mut observation);
            observation
        };
        let cases = [
            (healthy(), Ready, "sessions", ""),
            (with(|now| now.ironic = None), Ready, "ironic", ""),
            (
                with(|now| now.ironic = Some(false)),
                Degraded,
                "ironic",
                "api_url",
            ),
            (
                with(|now| now.is_draining = true),
                Unready,
                "sessions",
                "draining",
            ),
            (
                with(|now| now.state_dir = Some("no space left".to_owned())),
                Degraded,
                "state_dir",
                "no space left",
            ),
            (
                with(|now| now.gateways = Some(GatewaysState::default())),
                Degraded,
                "directory",
                "NATS does not answer",
            ),
            (open(1000), Unready, "descriptors", "1000 of 1024"),
            (open(930), Degraded, "descriptors", "LimitNOFILE"),
            (open(900), Ready, "descriptors", ""),
            (ends_in(-5), Unready, "certificates", "grpc has ended"),
            (
                ends_in(3 * 24 * 3600),
                Degraded,
                "certificates",
                "in 3 days",
            ),
            (ends_in(ENDS_SOON_SECONDS), Ready, "certificates", ""),
        ];
        for (observation, level, dependency, words) in cases {
            let readiness = Readiness::of(&observation);
            assert_eq!(readiness.level(), level, "{observation:?}");
            let document = readiness.document();
            assert_eq!(document["status"], level.word());
            let named = &document["dependencies"][dependency];
            assert_eq!(named["status"], level.word(), "{document}");
            let reason = named["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(words), "{document}");
            assert_eq!(reason.is_empty(), words.is_empty(), "{document}");
        }
    }
}
