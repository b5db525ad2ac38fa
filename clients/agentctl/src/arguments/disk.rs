//! A disk on the command line: its path, or what describes it.

use ironic_agent_protocol::v1;
use thiserror::Error;

/// Why a text describes no disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidDisk {
    /// A part is something else.
    #[error(
        "expected a path, or KEY=VALUE,... with the keys device, model, vendor, serial, wwn, \
         wwn_with_extension, hctl, transport, rotational and min_size_gib: {0:?} is neither"
    )]
    Part(String),
    /// A value is of another kind.
    #[error("{key}={value}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is there.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Reads `/dev/sda`, or `model=SAMSUNG,rotational=false`.
///
/// # Errors
/// It is neither.
pub(crate) fn disk(text: &str) -> Result<v1::DiskSelector, InvalidDisk> {
    let mut disk = v1::DiskSelector::default();
    if text.starts_with('/') && !text.contains(',') {
        text.clone_into(&mut disk.device);
        return Ok(disk);
    }
    for part in text.split(',') {
        let wrong = || InvalidDisk::Part(part.to_owned());
        let (key, value) = part.split_once('=').ok_or_else(wrong)?;
        let text = value.to_owned();
        match key.trim() {
            _ if value.is_empty() => return Err(wrong()),
            "device" => disk.device = text,
            "model" => disk.model = text,
            "vendor" => disk.vendor = text,
            "serial" => disk.serial = text,
            "wwn" => disk.wwn = text,
            "wwn_with_extension" => disk.wwn_with_extension = text,
            "hctl" => disk.hctl = text,
            "transport" => disk.transport = text,
            "rotational" => {
                let flag = value.parse().map_err(|_| InvalidDisk::Value {
                    key: "rotational",
                    value: text,
                    expected: "true or false",
                })?;
                disk.rotational = Some(flag);
            }
            "min_size_gib" => {
                let size = value.parse().map_err(|_| InvalidDisk::Value {
                    key: "min_size_gib",
                    value: text,
                    expected: "a whole number of GiB",
                })?;
                disk.min_size_gib = Some(size);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_paths_or_descriptions() {
        assert_eq!(disk("/dev/sda").unwrap().device, "/dev/sda");
        let described = disk("model=SAMSUNG MZ7LH960,rotational=false,min_size_gib=400").unwrap();
        assert_eq!(described.model, "SAMSUNG MZ7LH960");
        assert_eq!(described.rotational, Some(false));
        assert_eq!(described.min_size_gib, Some(400));
        for text in [
            "",
            "sda",
            "colour=red",
            "model=",
            "rotational=no",
            "min_size_gib=-1",
        ] {
            assert!(disk(text).is_err(), "{text}");
        }
    }
}
