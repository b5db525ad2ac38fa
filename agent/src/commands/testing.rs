//! What the tests of this room share: a workplace in which nothing is real.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Workplace;
use super::order::Fingerprint;
use super::record::{CommandId, MilestoneKind, Record, State};
use crate::config::{self, Config};
use crate::hardware::Registry;
use crate::system::{Root, System};

/// A workplace whose machine has no files and runs no programs.
pub(crate) fn place(config: Config) -> Workplace {
    let directory = std::env::temp_dir().join("ironic-agent-tests-no-such-directory");
    let mut system = System::simulated(&directory);
    system.root = Root::new(directory);
    let registry = Registry::compiled_in(&system).expect("the generic manager takes any machine");
    Workplace {
        system,
        registry: Arc::new(registry),
        config: config::Shared::new(config),
        installed: Arc::default(),
        node: super::NodeMemory::default(),
    }
}

/// The identifier with this number.
pub(crate) fn id(number: u8) -> CommandId {
    let text = format!("00000000-0000-4000-8000-0000000000{number:02x}");
    CommandId::parse(&text).expect("the text is a UUID")
}

/// Some seconds after 1970.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A running background command.
pub(crate) fn record(number: u8) -> Record {
    let mut record = Record {
        id: id(number),
        name: "clean.execute_clean_step".to_owned(),
        background: true,
        fingerprint: Fingerprint([number; 32]),
        started_at: at(1),
        deadline: None,
        state: State::Running,
        milestones: Vec::new(),
    };
    record.note(MilestoneKind::Started, "Admitted.", at(1));
    record
}
