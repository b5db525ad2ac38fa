//! What an image is, judged by its first megabyte. The format is declared, never guessed:
//! what is seen only confirms or refuses the declaration.

use ironic_ondisk::image_file::{luks_version, sniff};
use ironic_ondisk::partition_table::strict::{self, StrictError};
use thiserror::Error;

pub(in crate::image) use ironic_ondisk::image_file::ImageFormat as Format;

/// Why an image is not what it is declared to be, or may not be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// There are no bytes.
    #[error("The image is empty.")]
    Empty,
    /// There are no bytes in a compressed image.
    #[error("it is empty.")]
    EmptyInside,
    /// The format is known and not decoded.
    #[error(
        "Images in format {} are not written to disks; raw, qcow2, and raw compressed by gzip, \
         zstd, xz or bzip2 are: convert the image (qemu-img convert -O raw) or let Ironic do it \
         (force_raw_images).",
        .0.name()
    )]
    Unsupported(Format),
    /// It is declared to be something else.
    #[error(
        "Security: Expected format was {declared}, but image was actually {}",
        found.name()
    )]
    Contradiction {
        /// The declaration.
        declared: String,
        /// What was seen.
        found: Format,
    },
    /// The operator does not permit this format.
    #[error(
        "Security: Detected image format was {}, but only {} are allowed",
        found.name(),
        permitted.join(", ")
    )]
    NotPermitted {
        /// What was seen.
        found: Format,
        /// The option `permitted_image_formats`.
        permitted: Vec<String>,
    },
    /// It looks like several formats.
    #[error("Security: Image matched multiple potential formats: {}", names(.0))]
    Ambiguous(Vec<Format>),
    /// There is no format of this name.
    #[error("The disk_format {0} is not known.")]
    UnknownName(String),
    /// Only the first version of LUKS can be checked.
    #[error(
        "Security: Image failed safety check: its LUKS version is {}, only 1 is accepted",
        .0.map_or_else(|| "cut off".to_owned(), |version| version.to_string())
    )]
    Luks(Option<u16>),
    /// It begins like a partition table and has none.
    #[error("Security: Image failed safety check: its partition table {0}")]
    PartitionTable(#[from] StrictError),
    /// A compressed image holds something that may not be written.
    #[error("What is inside the {} image cannot be used: {source}", outside.name())]
    Inside {
        /// The compression.
        outside: Format,
        /// What is wrong with the content.
        source: Box<FormatError>,
    },
}

fn names(formats: &[Format]) -> String {
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    names.join(", ")
}

/// Decides how to read an image.
///
/// `declared` is `disk_format`, `head` the first megabyte, or all of a smaller image.
///
/// # Errors
/// `InvalidImage`, naming what was declared and what was seen.
pub(in crate::image) fn decide(
    declared: Option<&str>,
    head: &[u8],
    permitted: &[String],
    is_inspected: bool,
) -> Result<Format, FormatError> {
    if head.is_empty() {
        return Err(FormatError::Empty);
    }
    let seen = sniff(head);
    let format = match declared {
        Some(declared @ ("raw" | "gpt")) => {
            if is_inspected {
                let compression = seen.iter().find(|format| format.is_compression());
                match compression {
                    Some(compression) if seen.len() == 1 => *compression,
                    _ => plain(declared, &seen)?,
                }
            } else {
                Format::Raw
            }
        }
        declared => {
            if is_inspected {
                inspect(declared, head, &seen, permitted)?
            } else {
                uninspected(declared, &seen)?
            }
        }
    };
    if is_decoded(format) {
        Ok(format)
    } else {
        Err(FormatError::Unsupported(format))
    }
}

/// Refuses what is inside a compressed image unless it is a plain disk. `head` is the first
/// megabyte after unpacking. What declares the file as raw, or nothing, says the same about
/// what is inside.
///
/// # Errors
/// `InvalidImage`, naming what was seen.
pub(in crate::image) fn check_inside(
    outside: Format,
    declared: Option<&str>,
    head: &[u8],
    permitted: &[String],
) -> Result<(), FormatError> {
    let inside = if head.is_empty() {
        Err(FormatError::EmptyInside)
    } else {
        let seen = sniff(head);
        match declared {
            Some("raw" | "gpt") => plain("raw", &seen),
            _ => inspect(None, head, &seen, permitted).and_then(|_| plain("raw", &seen)),
        }
    };
    inside.map(|_| ()).map_err(|source| FormatError::Inside {
        outside,
        source: Box::new(source),
    })
}

/// The format of what must be plain bytes.
fn plain(declared: &str, seen: &[Format]) -> Result<Format, FormatError> {
    match seen.iter().find(|format| !format.is_verbatim()) {
        // It alone would have been unpacked.
        Some(compression) if compression.is_compression() && seen.len() > 1 => {
            Err(FormatError::Ambiguous(seen.to_vec()))
        }
        Some(container) => Err(FormatError::Contradiction {
            declared: declared.to_owned(),
            found: *container,
        }),
        None => Ok(Format::Raw),
    }
}

fn inspect(
    declared: Option<&str>,
    head: &[u8],
    seen: &[Format],
    permitted: &[String],
) -> Result<Format, FormatError> {
    let found = match seen {
        [] => Format::Raw,
        [one] => *one,
        several => return Err(FormatError::Ambiguous(several.to_vec())),
    };
    match found {
        Format::Gpt => strict::check(head)?,
        Format::Luks => check_luks(head)?,
        _ => {}
    }
    // Ironic's lists name disk formats; to it a compressed disk is plain bytes.
    let name = if found.is_compression() {
        Format::Raw.name()
    } else {
        found.name()
    };
    if !permitted.iter().any(|format| format == name) {
        return Err(FormatError::NotPermitted {
            found,
            permitted: permitted.to_vec(),
        });
    }
    match declared {
        Some(declared) if declared != found.name() => Err(FormatError::Contradiction {
            declared: declared.to_owned(),
            found,
        }),
        _ => Ok(found),
    }
}

fn uninspected(declared: Option<&str>, seen: &[Format]) -> Result<Format, FormatError> {
    let Some(declared) = declared else {
        return Ok(seen.first().copied().unwrap_or(Format::Raw));
    };
    Format::from_name(declared).ok_or_else(|| FormatError::UnknownName(declared.to_owned()))
}

/// Version 1 keeps what it says about itself in one place, version 2 in text of any length.
fn check_luks(head: &[u8]) -> Result<(), FormatError> {
    match luks_version(head) {
        Some(1) => Ok(()),
        version => Err(FormatError::Luks(version)),
    }
}

/// Whether the agent writes disks from it.
fn is_decoded(format: Format) -> bool {
    format.is_verbatim() || format.is_compression() || format == Format::Qcow2
}

#[cfg(test)]
mod tests;
