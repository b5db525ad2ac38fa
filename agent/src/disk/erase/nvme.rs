//! Erasing NVMe drives by `nvme`: format of one namespace, sanitize of the whole drive. The
//! bits are those of the NVM Express base specification: Identify Controller (OACS at 256, FNA
//! at 524, SANICAP at 328) and the Sanitize Status log.

use futures_util::FutureExt as _;
use serde_json::Value;

use super::run::{EraseState, EraseWatch, LOOK};
use crate::disk::erase::error::{MethodError, NvmeError, StatusError};
use crate::machine::block::BlockDevice;
use crate::system::{Cmd, System};

/// What a controller can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NvmeController {
    /// Optional admin commands.
    oacs: u64,
    /// Attributes of the format command.
    fna: u64,
    /// Capabilities of sanitize; 0 when the controller does not say.
    sanicap: u64,
}

/// What becomes of user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// It is overwritten or erased.
    UserData,
    /// The key that it was encrypted with is forgotten.
    Cryptographic,
}

impl Format {
    /// The value of the command's field "secure erase settings".
    fn setting(self) -> &'static str {
        match self {
            Self::UserData => "1",
            Self::Cryptographic => "2",
        }
    }

    /// For a person.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UserData => "user data erase",
            Self::Cryptographic => "cryptographic erase",
        }
    }
}

/// How a drive sanitizes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sanitize {
    /// The keys are forgotten.
    Cryptographic,
    /// All blocks are erased.
    Block,
    /// Everything is overwritten.
    Overwrite,
}

impl Sanitize {
    /// For a person.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cryptographic => "cryptographic erase",
            Self::Block => "block erase",
            Self::Overwrite => "overwrite",
        }
    }

    /// The value of the command's field "sanitize action".
    fn action(self) -> &'static str {
        match self {
            Self::Block => "2",
            Self::Overwrite => "3",
            Self::Cryptographic => "4",
        }
    }
}

impl NvmeController {
    /// Reads what `nvme id-ctrl -o json` prints.
    ///
    /// # Errors
    /// It is not such a document.
    pub fn parse(output: &str) -> Result<Self, NvmeError> {
        let document: Value = serde_json::from_str(output).map_err(|_| NvmeError::NoDocument)?;
        let number = |key: &'static str| document.get(key).and_then(Value::as_u64);
        Ok(Self {
            oacs: number("oacs").ok_or(NvmeError::Missing("oacs"))?,
            fna: number("fna").ok_or(NvmeError::Missing("fna"))?,
            sanicap: number("sanicap").unwrap_or(0),
        })
    }

    /// The best format that it has.
    #[must_use]
    pub fn format(self) -> Option<Format> {
        let format = if self.fna & 0b100 == 0 {
            Format::UserData
        } else {
            Format::Cryptographic
        };
        (self.oacs & 0b10 != 0).then_some(format)
    }

    /// Whether the erase of one namespace by formatting it erases all of them.
    #[must_use]
    pub fn formats_all(self) -> bool {
        self.fna & 0b11 != 0
    }

    /// The best sanitize that it has.
    #[must_use]
    pub fn sanitize(self) -> Option<Sanitize> {
        [
            (0b001, Sanitize::Cryptographic),
            (0b010, Sanitize::Block),
            (0b100, Sanitize::Overwrite),
        ]
        .into_iter()
        .find_map(|(bit, action)| (self.sanicap & bit != 0).then_some(action))
    }
}

/// Where a sanitize stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SanitizeStatus {
    /// Thousandths done.
    Running(u64),
    Done,
    Failed,
    /// None was ever started.
    Never,
}

/// The log: progress in 65536ths, then the status of the last operation in its lowest bits.
fn parse_log(log: &[u8]) -> Option<SanitizeStatus> {
    let progress = u64::from(u16::from_le_bytes([*log.first()?, *log.get(1)?]));
    match log.get(2)? & 0b111 {
        0 => Some(SanitizeStatus::Never),
        1 | 4 => Some(SanitizeStatus::Done),
        2 => Some(SanitizeStatus::Running(progress * 1000 / 65536)),
        3 => Some(SanitizeStatus::Failed),
        _ => None,
    }
}

/// Whether a device is an NVMe namespace.
#[must_use]
pub fn is_namespace(device: &BlockDevice) -> bool {
    controller_of(&device.name).is_some() && device.parent.is_none()
}

/// The controller of a namespace or of a partition of one: `/dev/nvme0` of `/dev/nvme0n1p2`.
#[must_use]
pub fn controller_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("/dev/nvme")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let ends = name.len() - rest.len() + digits;
    (digits > 0 && rest[digits..].starts_with('n')).then(|| &name[..ends])
}

/// Asks what the controller can do.
pub(super) async fn inspect(system: &System, device: &str) -> Result<NvmeController, NvmeError> {
    let command = Cmd::new("nvme").args(["id-ctrl", device, "-o", "json"]);
    NvmeController::parse(&system.run.run(command).await?.text())
}

/// Formats a namespace.
pub(super) async fn format(
    system: &System,
    device: &str,
    format: Format,
    watch: &EraseWatch<'_>,
) -> Result<(), MethodError> {
    let command = Cmd::new("nvme").args(["format", device, "-s", format.setting(), "-f"]);
    watch.run(system, command, None).await.map(|_| ())
}

/// Sanitizes a drive and waits until it is done.
pub(super) async fn sanitize(
    system: &System,
    device: &str,
    action: Sanitize,
    watch: &EraseWatch<'_>,
) -> Result<(), MethodError> {
    // It is about the drive, and so is the log.
    let controller = controller_of(device).unwrap_or(device);
    let mut command = Cmd::new("nvme").args(["sanitize", controller, "-a", action.action()]);
    if action == Sanitize::Overwrite {
        // Not to say how often means sixteen times.
        command = command.args(["-n", "1"]);
    }
    watch.run(system, command, None).await?;
    watch.poll(|| look(system, controller).boxed()).await
}

/// Where a sanitize stands.
async fn look(system: &System, controller: &str) -> Result<EraseState, MethodError> {
    let log = Cmd::new("nvme")
        .args(["sanitize-log", controller, "-b"])
        .timeout(LOOK);
    let output = match system.run.run(log).await {
        Ok(output) => output,
        Err(error) => return Ok(EraseState::Unknown(error.into())),
    };
    match parse_log(&output.stdout) {
        Some(SanitizeStatus::Running(done)) => Ok(EraseState::At(done)),
        Some(SanitizeStatus::Done) => Ok(EraseState::Done),
        Some(SanitizeStatus::Failed) => Err(MethodError::SanitizeFailed),
        Some(SanitizeStatus::Never) => Err(MethodError::SanitizeNotStarted),
        None => Ok(EraseState::Unknown(StatusError::InvalidLog)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_controllers_document() {
        let parse = |text: &str| NvmeController::parse(text).unwrap();
        // A drive of a notebook.
        let crypto = parse(r#"{"vid":5559,"mn":"WDC PC SN730","oacs":23,"fna":4,"sanicap":3}"#);
        assert_eq!(crypto.format(), Some(Format::Cryptographic));
        assert_eq!(crypto.sanitize(), Some(Sanitize::Cryptographic));
        assert!(!crypto.formats_all());
        let user_data = parse(r#"{"oacs":23,"fna":0}"#);
        assert_eq!(user_data.format(), Some(Format::UserData));
        assert_eq!(user_data.sanitize(), None);
        assert_eq!(parse(r#"{"oacs":0,"fna":4}"#).format(), None);
        for fna in [1, 2, 3] {
            assert!(parse(&format!(r#"{{"oacs":2,"fna":{fna}}}"#)).formats_all());
        }
        for (sanicap, best) in [
            (0b110, Sanitize::Block),
            (0b100, Sanitize::Overwrite),
            (0b111, Sanitize::Cryptographic),
        ] {
            let controller = parse(&format!(r#"{{"oacs":0,"fna":0,"sanicap":{sanicap}}}"#));
            assert_eq!(controller.sanitize(), Some(best));
        }
        for (text, missing) in [("[1]", "oacs"), (r#"{"oacs":1}"#, "fna")] {
            let parsed = NvmeController::parse(text);
            assert!(matches!(parsed, Err(NvmeError::Missing(key)) if key == missing));
        }
        assert!(matches!(
            NvmeController::parse(""),
            Err(NvmeError::NoDocument)
        ));
    }

    #[test]
    fn the_sanitize_log_is_read() {
        for (log, status) in [
            ([0xff, 0xff, 0x01, 0x01], Some(SanitizeStatus::Done)),
            ([0xff, 0xff, 0x04, 0x00], Some(SanitizeStatus::Done)),
            ([0x00, 0x80, 0x02, 0x00], Some(SanitizeStatus::Running(500))),
            ([0xff, 0xff, 0x0a, 0x00], Some(SanitizeStatus::Running(999))),
            ([0x00, 0x00, 0x03, 0x00], Some(SanitizeStatus::Failed)),
            ([0x00, 0x00, 0x00, 0x01], Some(SanitizeStatus::Never)),
            ([0x00, 0x00, 0x07, 0x00], None),
        ] {
            assert_eq!(parse_log(&log), status, "{log:?}");
        }
        assert_eq!(parse_log(&[0, 0]), None);
    }

    #[test]
    fn namespaces_know_their_controllers() {
        for (name, controller) in [
            ("/dev/nvme0n1", Some("/dev/nvme0")),
            ("/dev/nvme10n12", Some("/dev/nvme10")),
            ("/dev/nvme0n1p2", Some("/dev/nvme0")),
            ("/dev/sda", None),
            ("/dev/nvme0", None),
            ("/dev/nvme", None),
        ] {
            assert_eq!(controller_of(name), controller, "{name}");
        }
    }
}
