//! How one disk will be erased: decided from what the drive says, what the conductor allows and
//! what the operator overrides, before the first disk is touched.

use std::sync::Arc;
use std::time::Duration;

use ironic_text::error_chain;

use super::ata::Security;
use super::nvme::{Format, NvmeController, Sanitize};
use crate::disk::erase::error::{NoSecureErase, NvmeError, Unerasable};
use crate::disk::erase::overrides::EraseOverrides;
use crate::disk::erase::time::in_words;
use crate::machine::ironic_node::EraseOptions;

/// A drive or a program that does less per second is broken: 10 MB.
const SLOWEST: u64 = 10_000_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Nothing that reports progress stands still for so long.
const STALL: Duration = Duration::from_secs(30 * 60);

/// What is known of a disk.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its size in bytes.
    pub size: u64,
    /// The security state of an ATA drive that has one.
    pub ata: Option<Security>,
    /// The controller of an NVMe namespace, or why it is not known.
    pub nvme: Option<Result<NvmeController, Arc<NvmeError>>>,
    /// How a SCSI drive can sanitize itself.
    pub scsi: Option<Sanitize>,
    /// Other namespaces of the NVMe drive.
    pub siblings: Vec<String>,
    /// Those of them that must not be erased.
    pub bystanders: Vec<String>,
}

/// One way to erase a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EraseMethod {
    /// The ATA drive erases itself.
    Ata(Security),
    /// The NVMe namespace is formatted.
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

impl EraseMethod {
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
pub struct ErasePlan {
    /// Ways in the order in which they are tried; the next one when one fails.
    pub methods: Vec<EraseMethod>,
    /// What was decided on the way, for a person.
    pub notes: Vec<String>,
    /// The operator's deadline.
    pub deadline: Option<Duration>,
    /// When the alarm comes.
    pub stall: Duration,
}

impl ErasePlan {
    /// Decides.
    ///
    /// # Errors
    /// Why the disk cannot be erased as it must be, with the ways out.
    pub fn new(
        facts: &Facts,
        options: &EraseOptions,
        overrides: &EraseOverrides,
    ) -> Result<Self, Unerasable> {
        let overwrite = EraseMethod::Overwrite {
            iterations: options.iterations,
            zeroize: options.zeroize,
        };
        let mut plan = Self {
            methods: Vec::new(),
            notes: Vec::new(),
            deadline: overrides.deadline,
            stall: overrides.stall.unwrap_or(STALL),
        };
        let proper = match &facts.nvme {
            Some(controller) if options.nvme_secure_erase => {
                plan.choose_nvme(controller, facts, overrides)
            }
            None if facts.scsi.is_some() && overrides.sanitize => {
                plan.methods
                    .extend(facts.scsi.map(EraseMethod::SanitizeScsi));
                Ok(())
            }
            None if options.ata_secure_erase => match &facts.ata {
                Some(security) if security.is_frozen() => Err(NoSecureErase::Frozen),
                Some(security) => {
                    plan.methods.push(EraseMethod::Ata(security.clone()));
                    Ok(())
                }
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(reason) = proper {
            if !options.continue_if_secure_erase_failed {
                return Err(Unerasable(reason));
            }
            plan.notes.push(error_chain(&reason));
        }
        let sanitizes = |method: &EraseMethod| {
            matches!(
                method,
                EraseMethod::SanitizeNvme(_) | EraseMethod::SanitizeScsi(_)
            )
        };
        if overrides.sanitize && facts.nvme.is_none() && !plan.methods.iter().any(sanitizes) {
            plan.notes.push("no way is known to sanitize it".to_owned());
        }
        if plan.methods.is_empty() || options.continue_if_secure_erase_failed {
            plan.methods.push(overwrite);
        }
        Ok(plan)
    }

    fn choose_nvme(
        &mut self,
        controller: &Result<NvmeController, Arc<NvmeError>>,
        facts: &Facts,
        overrides: &EraseOverrides,
    ) -> Result<(), NoSecureErase> {
        let unknown = |error: &Arc<NvmeError>| NoSecureErase::UnknownController(Arc::clone(error));
        let controller = controller.as_ref().map_err(unknown)?;
        if overrides.sanitize {
            match controller.sanitize() {
                Some(action) if facts.siblings.is_empty() => {
                    self.methods.push(EraseMethod::SanitizeNvme(action));
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
        let format = controller.format().ok_or(NoSecureErase::NoFormat)?;
        if controller.formats_all() && !facts.bystanders.is_empty() {
            return Err(NoSecureErase::Bystanders(facts.bystanders.clone()));
        }
        self.methods.push(EraseMethod::Format(format));
        Ok(())
    }

    /// The plan as one sentence per disk, as a dry run shows it.
    #[must_use]
    pub fn describe(&self, size: u64) -> String {
        let ways: Vec<_> = self.methods.iter().map(EraseMethod::describe).collect();
        let first = self.methods.first().map(|method| self.limit(method, size));
        let notes: String = self.notes.iter().map(|note| format!("; {note}")).collect();
        format!(
            "by {}, given up after {}{notes}",
            ways.join(", if that fails by "),
            in_words(first.unwrap_or_default()),
        )
    }

    /// How long one way may take.
    #[must_use]
    pub fn limit(&self, method: &EraseMethod, size: u64) -> Duration {
        self.deadline.unwrap_or_else(|| method.deadline(size))
    }
}

#[cfg(test)]
mod tests;
