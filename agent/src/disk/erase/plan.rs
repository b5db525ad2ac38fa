//! How one disk will be erased: decided from what the drive says, what the conductor allows and
//! what the operator wishes, before the first disk is touched.

use std::time::Duration;

use serde_json::Value;

use super::ata::Security;
use super::nvme::{Controller, Format, Sanitize};
use super::run::in_words;
use crate::machine::ironic_node::{EraseOptions, Node, as_flag};

/// The key of the operator's wishes in the node's `driver_info`.
const WISH: &str = "agent_erase_plan";
/// A drive or a program that does less per second is broken: 10 MB.
const SLOWEST: u64 = 10_000_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Nothing that reports progress stands still for so long.
const STALL: Duration = Duration::from_secs(30 * 60);

/// What the operator wishes, in `driver_info/agent_erase_plan` of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Drives that can sanitize themselves do so.
    pub sanitize: bool,
    /// A disk is given up after this time, whatever was tried in it.
    pub deadline: Option<Duration>,
    /// The alarm comes when a disk has not moved for so long.
    pub stall: Option<Duration>,
}

impl Wish {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, naming the key.
    pub fn of(node: &Node) -> Result<Self, String> {
        let mut wish = Self::default();
        let entries = match node.value("driver_info", WISH) {
            None => return Ok(wish),
            Some(Value::Object(entries)) => entries,
            Some(other) => {
                return Err(format!(
                    "driver_info/{WISH} must be an object like {{\"sanitize\": true}}, not {other}"
                ));
            }
        };
        for (key, value) in entries {
            let wrong = |expected: &str| {
                format!("driver_info/{WISH}/{key} must be {expected}, not {value}")
            };
            let minutes = || match value.as_u64() {
                Some(minutes @ 1..=100_000) => Ok(Some(Duration::from_secs(60 * minutes))),
                _ => Err(wrong("a number of minutes from 1 to 100000")),
            };
            match key.as_str() {
                "sanitize" => {
                    wish.sanitize = as_flag(value).ok_or_else(|| wrong("true or false"))?;
                }
                "deadline_minutes" => wish.deadline = minutes()?,
                "stall_minutes" => wish.stall = minutes()?,
                _ => {
                    return Err(format!(
                        "driver_info/{WISH} has no '{key}'; it knows sanitize, \
                         deadline_minutes and stall_minutes"
                    ));
                }
            }
        }
        Ok(wish)
    }
}

/// What is known of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its size in bytes.
    pub size: u64,
    /// The security state of an ATA drive that has one.
    pub ata: Option<Security>,
    /// The controller of an NVMe name space, or why it is not known.
    pub nvme: Option<Result<Controller, String>>,
    /// How a SCSI drive can sanitize itself.
    pub scsi: Option<Sanitize>,
    /// Other name spaces of the NVMe drive.
    pub siblings: Vec<String>,
    /// Those of them that must not be erased.
    pub bystanders: Vec<String>,
}

/// One way to erase a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// The ATA drive erases itself.
    Ata(Security),
    /// The NVMe name space is formatted.
    Format(Format),
    /// The NVMe drive sanitizes itself.
    SanitizeNvme(Sanitize),
    /// The SCSI drive sanitizes itself.
    SanitizeScsi(Sanitize),
    /// The disk is overwritten from here.
    Overwrite {
        /// Passes of random data.
        iterations: u32,
        /// Whether a pass of zeros follows.
        zeroize: bool,
    },
}

impl Means {
    /// For a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Ata(security) if security.is_enhanced() => {
                "ATA secure erase (enhanced)".to_owned()
            }
            Self::Ata(_) => "ATA secure erase".to_owned(),
            Self::Format(format) => format!("NVMe format ({})", format.word()),
            Self::SanitizeNvme(action) => format!("NVMe sanitize ({})", action.word()),
            Self::SanitizeScsi(action) => format!("SCSI sanitize ({})", action.word()),
            Self::Overwrite {
                iterations,
                zeroize,
            } => {
                let zeros = if *zeroize { " and one of zeros" } else { "" };
                format!("overwriting ({iterations} random passes{zeros})")
            }
        }
    }

    /// How long it may take at most, unless the operator says otherwise.
    #[must_use]
    pub fn deadline(&self, size: u64) -> Duration {
        let pass = Duration::from_secs(size / SLOWEST);
        match self {
            Self::Ata(security) => security
                .estimate()
                .map_or(pass + 24 * HOUR, |estimate| 2 * estimate + HOUR),
            Self::Format(_) => pass + HOUR,
            Self::SanitizeNvme(_) | Self::SanitizeScsi(_) => 3 * pass + 24 * HOUR,
            Self::Overwrite {
                iterations,
                zeroize,
            } => pass * (iterations + u32::from(*zeroize)) + HOUR,
        }
    }
}

/// How one disk will be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Ways in the order in which they are tried; the next one when one fails.
    pub means: Vec<Means>,
    /// What was decided on the way, for a person.
    pub notes: Vec<String>,
    /// The operator's deadline.
    pub deadline: Option<Duration>,
    /// When the alarm comes.
    pub stall: Duration,
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// Why the disk cannot be erased as it must be, with the ways out.
    pub fn new(facts: &Facts, options: &EraseOptions, wish: &Wish) -> Result<Self, String> {
        let overwrite = Means::Overwrite {
            iterations: options.iterations,
            zeroize: options.zeroize,
        };
        let mut plan = Self {
            means: Vec::new(),
            notes: Vec::new(),
            deadline: wish.deadline,
            stall: wish.stall.unwrap_or(STALL),
        };
        let proper = match &facts.nvme {
            Some(controller) if options.nvme_secure_erase => {
                plan.choose_nvme(controller.as_ref(), facts, wish)
            }
            None if facts.scsi.is_some() && wish.sanitize => {
                plan.means.extend(facts.scsi.map(Means::SanitizeScsi));
                Ok(())
            }
            None if options.ata_secure_erase => match &facts.ata {
                Some(security) if security.is_frozen() => Err(
                    "its firmware froze the security state: the machine must lose power, and a \
                     BIOS setting may freeze drives at every start"
                        .to_owned(),
                ),
                Some(security) => {
                    plan.means.push(Means::Ata(security.clone()));
                    Ok(())
                }
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(reason) = proper {
            if !options.continue_if_secure_erase_failed {
                return Err(format!(
                    "{reason}. Set [deploy]continue_if_disk_secure_erase_fails of the conductor \
                     to overwrite such disks."
                ));
            }
            plan.notes.push(reason);
        }
        let sanitizes =
            |means: &Means| matches!(means, Means::SanitizeNvme(_) | Means::SanitizeScsi(_));
        if wish.sanitize && facts.nvme.is_none() && !plan.means.iter().any(sanitizes) {
            plan.notes.push("no way is known to sanitize it".to_owned());
        }
        if plan.means.is_empty() || options.continue_if_secure_erase_failed {
            plan.means.push(overwrite);
        }
        Ok(plan)
    }

    fn choose_nvme(
        &mut self,
        controller: Result<&Controller, &String>,
        facts: &Facts,
        wish: &Wish,
    ) -> Result<(), String> {
        let controller =
            controller.map_err(|error| format!("its controller is unknown: {error}"))?;
        if wish.sanitize {
            match controller.sanitize() {
                Some(action) if facts.siblings.is_empty() => {
                    self.means.push(Means::SanitizeNvme(action));
                    return Ok(());
                }
                Some(_) => self.notes.push(format!(
                    "sanitize would erase {}, too: it is formatted instead",
                    facts.siblings.join(", ")
                )),
                None => self
                    .notes
                    .push("the drive has no sanitize: it is formatted instead".to_owned()),
            }
        }
        let format = controller
            .format()
            .ok_or_else(|| "its controller does not support the format command".to_owned())?;
        if controller.formats_all() && !facts.bystanders.is_empty() {
            return Err(format!(
                "its controller formats all name spaces at once, and {} must not be erased",
                facts.bystanders.join(", ")
            ));
        }
        self.means.push(Means::Format(format));
        Ok(())
    }

    /// The plan as one sentence per disk, as a dry run shows it.
    #[must_use]
    pub fn describe(&self, size: u64) -> String {
        let ways: Vec<_> = self.means.iter().map(Means::describe).collect();
        let first = self.means.first().map(|means| self.limit(means, size));
        let notes: String = self.notes.iter().map(|note| format!("; {note}")).collect();
        format!(
            "by {}, given up after {}{notes}",
            ways.join(", if that fails by "),
            in_words(first.unwrap_or_default()),
        )
    }

    /// How long one way may take.
    #[must_use]
    pub fn limit(&self, means: &Means, size: u64) -> Duration {
        self.deadline.unwrap_or_else(|| means.deadline(size))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ata::tests::{READY, identity};
    use super::*;

    fn node(plan: Value) -> Node {
        let document = json!({"driver_info": {WISH: plan}});
        Node(document.as_object().unwrap().clone())
    }

    fn options() -> EraseOptions {
        Node::default().erase_options()
    }

    fn forgiving() -> EraseOptions {
        EraseOptions {
            continue_if_secure_erase_failed: true,
            ..options()
        }
    }

    fn nvme(text: &str) -> Facts {
        Facts {
            size: 1 << 30,
            nvme: Some(Ok(Controller::parse(text).unwrap())),
            ..Facts::default()
        }
    }

    fn ata(lines: &[&str]) -> Facts {
        Facts {
            size: 1 << 30,
            ata: Some(Security::parse(&identity(lines))),
            ..Facts::default()
        }
    }

    fn ways(facts: &Facts, options: &EraseOptions, wish: &Wish) -> Result<Vec<String>, String> {
        let plan = Plan::new(facts, options, wish)?;
        Ok(plan.means.iter().map(Means::describe).collect())
    }

    const OVERWRITE: &str = "overwriting (1 random passes and one of zeros)";

    #[test]
    fn the_drive_decides_unless_it_may_not() {
        let sanitizing = Wish {
            sanitize: true,
            ..Wish::default()
        };
        let no_secure_erase = EraseOptions {
            ata_secure_erase: false,
            nvme_secure_erase: false,
            ..options()
        };
        let crypto = nvme(r#"{"oacs":23,"fna":4,"sanicap":2}"#);
        let several = Facts {
            siblings: vec!["/dev/nvme0n2".into()],
            ..crypto.clone()
        };
        let scsi = Facts {
            scsi: Some(Sanitize::Block),
            ..Facts::default()
        };
        let plain = [
            "supported",
            "not enabled",
            "not locked",
            "not frozen",
            "not supported: enhanced erase",
        ];
        let format = "NVMe format (cryptographic erase)";
        let user_data = "NVMe format (user data erase)";
        let wish = Wish::default();
        for (facts, options, wish, expected) in [
            (Facts::default(), options(), wish, vec![OVERWRITE]),
            (Facts::default(), forgiving(), wish, vec![OVERWRITE]),
            (
                ata(&READY),
                options(),
                wish,
                vec!["ATA secure erase (enhanced)"],
            ),
            (ata(&plain), options(), wish, vec!["ATA secure erase"]),
            (
                ata(&plain),
                forgiving(),
                wish,
                vec!["ATA secure erase", OVERWRITE],
            ),
            (ata(&READY), no_secure_erase, wish, vec![OVERWRITE]),
            (crypto.clone(), options(), wish, vec![format]),
            (crypto.clone(), no_secure_erase, wish, vec![OVERWRITE]),
            (
                nvme(r#"{"oacs":23,"fna":0}"#),
                options(),
                wish,
                vec![user_data],
            ),
            (
                crypto,
                options(),
                sanitizing,
                vec!["NVMe sanitize (block erase)"],
            ),
            (several, options(), sanitizing, vec![format]),
            (
                nvme(r#"{"oacs":2,"fna":0}"#),
                options(),
                sanitizing,
                vec![user_data],
            ),
            (
                scsi.clone(),
                options(),
                sanitizing,
                vec!["SCSI sanitize (block erase)"],
            ),
            (scsi, options(), wish, vec![OVERWRITE]),
        ] {
            let found = ways(&facts, &options, &wish);
            assert_eq!(found.unwrap(), expected, "{facts:?} {options:?} {wish:?}");
        }
    }

    #[test]
    fn what_cannot_be_erased_properly_is_refused_or_overwritten() {
        let frozen = ata(&["supported", "not enabled", "not locked", "frozen"]);
        let unsupported = nvme(r#"{"oacs":0,"fna":4}"#);
        let unknown = Facts {
            nvme: Some(Err("nvme is not installed".into())),
            ..Facts::default()
        };
        let shared = Facts {
            siblings: vec!["/dev/nvme0n2".into()],
            bystanders: vec!["/dev/nvme0n2".into()],
            ..nvme(r#"{"oacs":2,"fna":2}"#)
        };
        for (facts, text) in [
            (frozen, "froze the security state"),
            (unsupported, "does not support the format command"),
            (unknown, "nvme is not installed"),
            (shared, "/dev/nvme0n2 must not be erased"),
        ] {
            let reason = ways(&facts, &options(), &Wish::default()).unwrap_err();
            assert!(reason.contains(text), "{reason}");
            assert!(reason.contains("continue_if_disk_secure_erase_fails"));
            let plan = Plan::new(&facts, &forgiving(), &Wish::default()).unwrap();
            assert_eq!(
                plan.describe(0),
                format!("by {OVERWRITE}, given up after 60 min; {}", plan.notes[0])
            );
            assert!(plan.notes[0].contains(text));
        }
    }

    #[test]
    fn a_wish_that_cannot_be_met_is_said() {
        let sanitizing = Wish {
            sanitize: true,
            ..Wish::default()
        };
        let text = "no way is known to sanitize it";
        for facts in [Facts::default(), ata(&READY)] {
            let notes = |wish: &Wish| Plan::new(&facts, &options(), wish).unwrap().notes;
            assert_eq!(notes(&sanitizing), [text]);
            assert!(notes(&Wish::default()).is_empty());
        }
    }

    #[test]
    fn wishes_are_checked() {
        let wish = Wish::of(&node(
            json!({"sanitize": "yes", "deadline_minutes": 90, "stall_minutes": 5}),
        ));
        let expected = Wish {
            sanitize: true,
            deadline: Some(Duration::from_secs(5400)),
            stall: Some(Duration::from_secs(300)),
        };
        assert_eq!(wish, Ok(expected));
        assert_eq!(Wish::of(&node(Value::Null)), Ok(Wish::default()));
        for (plan, text) in [
            (json!(true), "must be an object"),
            (json!({"sanitise": true}), "has no 'sanitise'"),
            (
                json!({"sanitize": "perhaps"}),
                "agent_erase_plan/sanitize must be true or false",
            ),
            (json!({"stall_minutes": 0}), "a number of minutes from 1"),
            (
                json!({"deadline_minutes": "5"}),
                "a number of minutes from 1",
            ),
        ] {
            let error = Wish::of(&node(plan)).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        let facts = nvme(r#"{"oacs":2,"fna":0}"#);
        let plan = Plan::new(&facts, &options(), &expected).unwrap();
        assert_eq!(
            plan.describe(facts.size),
            "by NVMe format (user data erase), given up after 90 min; the drive has no sanitize: \
             it is formatted instead"
        );
        assert_eq!(plan.stall, Duration::from_secs(300));
    }

    #[test]
    fn deadlines_come_from_the_drive_or_its_size() {
        let hours = |means: &Means, size| means.deadline(size).as_secs() / 3600;
        let security = |lines: &[&str]| Means::Ata(Security::parse(&identity(lines)));
        // 26 minutes twice and an hour.
        assert_eq!(security(&READY).deadline(1 << 40).as_secs() / 60, 112);
        assert_eq!(hours(&security(&["supported"]), 4_000_000_000_000), 135);
        let overwrite = Means::Overwrite {
            iterations: 3,
            zeroize: true,
        };
        assert_eq!(hours(&overwrite, 36_000_000_000), 5);
        assert_eq!(hours(&Means::Format(Format::UserData), 0), 1);
        assert_eq!(hours(&Means::SanitizeNvme(Sanitize::Block), 0), 24);
    }
}
