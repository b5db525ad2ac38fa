//! What an image is, judged by its first megabyte. The format is declared, never guessed:
//! what is seen only confirms or refuses the declaration.

use ironic_ondisk::filesystem::fat::BootSector;

use crate::failure::{Failure, FailureKind};

/// How the bytes of a file become the bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Format {
    /// They are the same.
    Raw,
    /// The same, and a partition table was seen.
    Gpt,
    /// The same, and it is a CD image.
    Iso,
    /// The same, encrypted.
    Luks,
    Qcow2,
    Qed,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

/// Signatures: format, offset, bytes.
const SIGNATURES: [(Format, usize, &[u8]); 16] = [
    (Format::Qcow2, 0, b"QFI\xfb"),
    (Format::Qed, 0, b"QED\0"),
    (Format::Vmdk, 0, b"KDMV"),
    (Format::Vmdk, 0, b"# Disk DescriptorFile"),
    (Format::Vhd, 0, b"conectix"),
    (Format::Vhdx, 0, b"vhdxfile"),
    (Format::Vdi, 0x40, &[0x7f, 0x10, 0xda, 0xbe]),
    (Format::Luks, 0, b"LUKS\xba\xbe"),
    (Format::Iso, 32769, b"CD001"),
    (Format::Iso, 32769, b"NSR02"),
    (Format::Iso, 32769, b"NSR03"),
    (Format::Gpt, 510, &[0x55, 0xaa]),
    (Format::Gzip, 0, &[0x1f, 0x8b, 0x08]),
    (Format::Xz, 0, b"\xfd7zXZ\0"),
    (Format::Zstd, 0, &[0x28, 0xb5, 0x2f, 0xfd]),
    (Format::Bzip2, 0, b"BZh"),
];

impl Format {
    /// The name in `disk_format` and in `permitted_image_formats`.
    pub(in crate::image) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Gpt => "gpt",
            Self::Iso => "iso",
            Self::Luks => "luks",
            Self::Qcow2 => "qcow2",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Whether the bytes of the file are those of the disk.
    pub(in crate::image) fn is_verbatim(self) -> bool {
        matches!(self, Self::Raw | Self::Gpt | Self::Iso | Self::Luks)
    }

    /// Whether the agent writes disks from it.
    fn is_decoded(self) -> bool {
        self.is_verbatim() || self.is_compression() || self == Self::Qcow2
    }

    /// The refusal of a format that is known and not decoded.
    pub(in crate::image) fn unsupported(self) -> Failure {
        refused(format!(
            "Images in format {} are not written to disks; raw, qcow2, and raw compressed by gzip, \
             zstd, xz or bzip2 are: convert the image (qemu-img convert -O raw) or let Ironic do \
             it (force_raw_images).",
            self.name()
        ))
    }

    /// Whether it is compressed bytes of another file. The agents of the past took it for
    /// plain bytes.
    pub(in crate::image) fn is_compression(self) -> bool {
        matches!(self, Self::Gzip | Self::Xz | Self::Zstd | Self::Bzip2)
    }
}

/// Everything that the beginning of an image looks like, in the order of the table; empty
/// means plain bytes.
pub(in crate::image) fn sniff(head: &[u8]) -> Vec<Format> {
    let mut seen: Vec<Format> = SIGNATURES
        .iter()
        .filter(|(_, offset, bytes)| {
            head.get(*offset..)
                .is_some_and(|rest| rest.starts_with(bytes))
        })
        .map(|(format, ..)| *format)
        .collect();
    // A FAT file system ends its boot sector like a partition table does.
    let has_entries = head
        .get(446..510)
        .is_some_and(|table| table.iter().any(|byte| *byte != 0));
    if !has_entries && BootSector::parse(head).is_some() {
        seen.retain(|format| *format != Format::Gpt);
    }
    // Three letters are too few: a first block or the end must follow the block size.
    const BZIP2: [&[u8]; 2] = [b"1AY&SY", &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
    let is_bzip2 = matches!(head.get(3), Some(b'1'..=b'9'))
        && BZIP2
            .iter()
            .any(|next| head.get(4..).is_some_and(|rest| rest.starts_with(next)));
    seen.retain(|format| *format != Format::Bzip2 || is_bzip2);
    if begins_with_skippable_frame(head) {
        seen.push(Format::Zstd);
    }
    // One compressed file of 65,536 has these two bytes by chance, but no table before them.
    if seen.iter().any(|format| format.is_compression()) && check_partition_table(head).is_err() {
        seen.retain(|format| *format != Format::Gpt);
    }
    seen.dedup();
    seen
}

/// A zstd file may begin with frames for somebody else, as those of `pzstd` do. Other formats
/// have such frames, too: one of zstd must follow.
fn begins_with_skippable_frame(head: &[u8]) -> bool {
    let mut rest = head;
    let mut skipped = false;
    while let Some((frame, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *frame;
        if !(0x184d_2a50..=0x184d_2a5f).contains(&u32::from_le_bytes([a, b, c, d])) {
            break;
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let Some(next) = after.get(length..) else {
            return false;
        };
        (rest, skipped) = (next, true);
    }
    skipped && rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
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
) -> Result<Format, Failure> {
    if head.is_empty() {
        return Err(refused("The image is empty."));
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
    if format.is_decoded() {
        Ok(format)
    } else {
        Err(format.unsupported())
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
) -> Result<(), Failure> {
    let inside = if head.is_empty() {
        Err(refused("it is empty."))
    } else {
        let seen = sniff(head);
        match declared {
            Some("raw" | "gpt") => plain("raw", &seen),
            _ => inspect(None, head, &seen, permitted).and_then(|_| plain("raw", &seen)),
        }
    };
    inside.map(|_| ()).map_err(|failure| {
        refused(format!(
            "What is inside the {} image cannot be used: {}",
            outside.name(),
            failure.details
        ))
    })
}

/// The format of what must be plain bytes.
fn plain(declared: &str, seen: &[Format]) -> Result<Format, Failure> {
    match seen.iter().find(|format| !format.is_verbatim()) {
        // It alone would have been unpacked.
        Some(compression) if compression.is_compression() && seen.len() > 1 => Err(ambiguous(seen)),
        Some(container) => Err(refused(format!(
            "Security: Expected format was {declared}, but image was actually {}",
            container.name()
        ))),
        None => Ok(Format::Raw),
    }
}

fn inspect(
    declared: Option<&str>,
    head: &[u8],
    seen: &[Format],
    permitted: &[String],
) -> Result<Format, Failure> {
    let found = match seen {
        [] => Format::Raw,
        [one] => *one,
        several => return Err(ambiguous(several)),
    };
    match found {
        Format::Gpt => check_partition_table(head)?,
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
        return Err(refused(format!(
            "Security: Detected image format was {}, but only {} are allowed",
            found.name(),
            permitted.join(", ")
        )));
    }
    match declared {
        Some(declared) if declared != found.name() => Err(refused(format!(
            "Security: Expected format was {declared}, but image was actually {}",
            found.name()
        ))),
        _ => Ok(found),
    }
}

fn uninspected(declared: Option<&str>, seen: &[Format]) -> Result<Format, Failure> {
    let Some(declared) = declared else {
        return Ok(seen.first().copied().unwrap_or(Format::Raw));
    };
    let known = |(format, ..): &&(Format, usize, &[u8])| format.name() == declared;
    SIGNATURES
        .iter()
        .find(known)
        .map(|(format, ..)| *format)
        .ok_or_else(|| refused(format!("The disk_format {declared} is not known.")))
}

/// Version 1 keeps what it says about itself in one place, version 2 in text of any length.
fn check_luks(head: &[u8]) -> Result<(), Failure> {
    match head.get(6..8) {
        Some([0, 1]) => Ok(()),
        version => Err(refused(format!(
            "Security: Image failed safety check: its LUKS version is {}, only 1 is accepted",
            version.map_or_else(|| "cut off".to_owned(), |bytes| bytes[1].to_string())
        ))),
    }
}

/// The four entries of the master boot record must be possible, and if one of them stands
/// for a GUID partition table, then as the UEFI specification (5.2.3) wants it.
fn check_partition_table(head: &[u8]) -> Result<(), Failure> {
    const PROTECTIVE: u8 = 0xee;
    let failed = |what: &str| {
        Err(refused(format!(
            "Security: Image failed safety check: its partition table {what}"
        )))
    };
    let Some(entries) = head.get(446..510) else {
        return failed("is cut off");
    };
    let entries: Vec<&[u8]> = entries.chunks_exact(16).collect();
    let used: Vec<_> = entries.iter().filter(|entry| entry[4] != 0).collect();
    if entries.iter().any(|entry| !matches!(entry[0], 0x00 | 0x80)) {
        return failed("has an impossible boot flag");
    }
    if used.is_empty() {
        return failed("has no partition");
    }
    if used.iter().any(|entry| entry[4] == PROTECTIVE) {
        let first = entries[0];
        if used.len() != 1 || first[4] != PROTECTIVE {
            return failed("protects a GPT and has other partitions, too");
        }
        if first[1..4] != [0x00, 0x02, 0x00] || first[8..12] != [1, 0, 0, 0] {
            return failed("protects a GPT that does not start at sector 1");
        }
    }
    Ok(())
}

fn ambiguous(seen: &[Format]) -> Failure {
    let names: Vec<_> = seen.iter().map(|format| format.name()).collect();
    refused(format!(
        "Security: Image matched multiple potential formats: {}",
        names.join(", ")
    ))
}

fn refused(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidImage, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(marks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 1 << 20];
        for (offset, bytes) in marks {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn mbr() -> Vec<u8> {
        head(&[(450, &[0x83]), (510, &[0x55, 0xaa])])
    }

    fn verdict(declared: Option<&str>, head: &[u8], is_inspected: bool) -> Result<Format, String> {
        let permitted = ["raw", "gpt", "qcow2"].map(str::to_owned);
        decide(declared, head, &permitted, is_inspected).map_err(|failure| failure.details)
    }

    #[test]
    fn what_is_raw_is_written_as_it_is() {
        let zeros = head(&[]);
        assert_eq!(verdict(Some("raw"), &zeros, true), Ok(Format::Raw));
        assert_eq!(verdict(None, &zeros, true), Ok(Format::Raw));
        assert_eq!(verdict(Some("raw"), &mbr(), true), Ok(Format::Raw));
        assert_eq!(verdict(Some("gpt"), &mbr(), true), Ok(Format::Raw));
        assert_eq!(verdict(None, &mbr(), true), Ok(Format::Gpt));
        // A declared raw image may be a hybrid CD.
        let hybrid = head(&[(450, &[0x83]), (510, &[0x55, 0xaa]), (32769, b"CD001")]);
        assert_eq!(verdict(Some("raw"), &hybrid, true), Ok(Format::Raw));
        assert_eq!(verdict(Some("raw"), b"tiny", true), Ok(Format::Raw));
    }

    #[test]
    fn another_container_than_declared_is_refused_and_both_are_named() {
        for (signature, name) in [
            (&b"QFI\xfb"[..], "qcow2"),
            (b"KDMV", "vmdk"),
            (b"# Disk DescriptorFile", "vmdk"),
            (b"conectix", "vhd"),
            (b"vhdxfile", "vhdx"),
            (b"QED\0", "qed"),
        ] {
            let image = head(&[(0, signature)]);
            assert_eq!(
                verdict(Some("raw"), &image, true),
                Err(format!(
                    "Security: Expected format was raw, but image was actually {name}"
                ))
            );
            // The operator may switch that off; then raw means raw.
            assert_eq!(verdict(Some("raw"), &image, false), Ok(Format::Raw));
        }
    }

    #[test]
    fn a_compressed_file_is_decoded_when_raw_or_nothing_is_declared() {
        for (signature, format) in [
            (&b"\x1f\x8b\x08"[..], Format::Gzip),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
            (b"BZh91AY&SY", Format::Bzip2),
            (b"BZh1\x17\x72\x45\x38\x50\x90", Format::Bzip2),
        ] {
            let image = head(&[(0, signature)]);
            for declared in [Some("raw"), Some("gpt"), Some(format.name()), None] {
                assert_eq!(verdict(declared, &image, true), Ok(format));
            }
            for (declared, decided) in [
                (Some("raw"), Format::Raw),
                (Some(format.name()), format),
                (None, format),
            ] {
                assert_eq!(verdict(declared, &image, false), Ok(decided));
            }
            assert!(verdict(Some("qcow2"), &image, true).is_err());
        }
        // Two bytes by chance make no partition table; with a table it may be either.
        let by_chance = head(&[(0, b"\x1f\x8b\x08"), (446, &[7; 64]), (510, &[0x55, 0xaa])]);
        let both = [
            (0, &b"\x1f\x8b\x08"[..]),
            (450, &[0x83]),
            (510, &[0x55, 0xaa]),
        ];
        for declared in [Some("raw"), None] {
            assert_eq!(verdict(declared, &by_chance, true), Ok(Format::Gzip));
            let error = verdict(declared, &head(&both), true).unwrap_err();
            assert!(error.contains("formats: gpt, gzip"), "{error}");
        }
        // Three letters make no format.
        assert_eq!(
            verdict(Some("raw"), &head(&[(0, b"BZhome")]), true),
            Ok(Format::Raw)
        );
    }

    #[test]
    fn what_is_inside_a_compressed_file_is_a_plain_disk() {
        let permitted = ["raw", "gpt"].map(str::to_owned);
        let inside = |declared, image: &[u8]| {
            check_inside(Format::Zstd, declared, image, &permitted)
                .map_err(|failure| failure.details)
        };
        for declared in [Some("raw"), None] {
            assert_eq!(inside(declared, &mbr()), Ok(()));
            assert_eq!(inside(declared, &head(&[])), Ok(()));
            for (signature, text) in [
                (&b"QFI\xfb"[..], "actually qcow2"),
                (b"KDMV", "actually vmdk"),
                (b"\x1f\x8b\x08", "actually gzip"),
            ] {
                let refused = inside(declared, &head(&[(0, signature)])).unwrap_err();
                assert!(
                    refused.contains("inside the zstd image") && refused.contains("Security"),
                    "{refused}"
                );
                assert!(declared.is_none() || refused.contains(text), "{refused}");
            }
            assert!(inside(declared, &[]).unwrap_err().contains("empty"));
        }
        // What nobody declared is looked at like any other.
        let iso = head(&[(32769, b"CD001")]);
        assert!(inside(None, &iso).unwrap_err().contains("are allowed"));
        let unsigned = head(&[(510, &[0x55, 0xaa])]);
        assert!(
            inside(None, &unsigned)
                .unwrap_err()
                .contains("no partition")
        );
    }

    #[test]
    fn what_is_inspected_must_be_permitted_unambiguous_and_as_declared() {
        let qcow2 = (0, &b"QFI\xfb"[..]);
        for (declared, image, text) in [
            (
                Some("qcow2"),
                head(&[]),
                "Expected format was qcow2, but image was actually raw",
            ),
            (
                None,
                head(&[qcow2, (510, &[0x55, 0xaa])]),
                "multiple potential formats: qcow2, gpt",
            ),
            (
                None,
                head(&[(32769, b"CD001")]),
                "Detected image format was iso, but only raw, gpt, qcow2 are allowed",
            ),
            (
                Some("qcow2"),
                head(&[(0, b"\x1f\x8b\x08")]),
                "image was actually gzip",
            ),
            (
                Some("vmdk"),
                head(&[qcow2]),
                "Expected format was vmdk, but image was actually qcow2",
            ),
            (None, Vec::new(), "empty"),
        ] {
            let error = verdict(declared, &image, true).unwrap_err();
            assert!(error.contains(text), "{declared:?}: {error}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused_in_all_pairs() {
        type Mark = (usize, &'static [u8]);
        let marks: [(&str, &[Mark]); 3] = [
            ("qcow2", &[(0, b"QFI\xfb")]),
            ("gpt", &[(450, &[0x83]), (510, &[0x55, 0xaa])]),
            ("iso", &[(32769, b"CD001")]),
        ];
        let permitted = ["raw", "gpt", "iso", "qcow2"].map(str::to_owned);
        for (index, (one, first)) in marks.iter().enumerate() {
            for (other, second) in &marks[index + 1..] {
                let image = head(&[*first, *second].concat());
                for declared in [None, Some(*one), Some(*other)] {
                    // What is declared as a plain disk may be a hybrid CD.
                    if declared == Some("gpt") {
                        continue;
                    }
                    let failure = decide(declared, &image, &permitted, true).unwrap_err();
                    let said = failure.details;
                    assert!(said.contains("multiple potential formats"), "{said}");
                    assert!(said.contains(one) && said.contains(other), "{said}");
                }
            }
        }
    }

    #[test]
    fn what_is_never_decoded_says_so_and_what_is() {
        let error = verdict(Some("vmdk"), &head(&[]), false).unwrap_err();
        assert!(
            error.contains("vmdk are not written to disks; raw, qcow2"),
            "{error}"
        );
        let qcow2 = head(&[(0, b"QFI\xfb")]);
        for (declared, is_inspected) in [(Some("qcow2"), true), (None, true), (None, false)] {
            assert_eq!(verdict(declared, &qcow2, is_inspected), Ok(Format::Qcow2));
        }
    }

    #[test]
    fn partition_tables_that_lie_are_refused() {
        let sign: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        let protective: &[u8] = &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 9, 0, 0, 0];
        assert_eq!(
            verdict(None, &head(&[(446, protective), sign]), true),
            Ok(Format::Gpt)
        );
        for (image, text) in [
            (head(&[sign]), "no partition"),
            (head(&[(446, &[0x12, 0, 0, 0, 0x83]), sign]), "boot flag"),
            (
                head(&[(446, protective), (466, &[0x83]), sign]),
                "other partitions",
            ),
            (head(&[(462, protective), sign]), "other partitions"),
            (head(&[(450, &[0xee]), sign]), "start at sector 1"),
        ] {
            let error = verdict(None, &image, true).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn every_container_is_refused_by_the_rule_that_it_breaks() {
        let luks = |version: u8| head(&[(0, b"LUKS\xba\xbe\0"), (7, &[version])]);
        let vdi = head(&[(0x40, &[0x7f, 0x10, 0xda, 0xbe])]);
        let qed = head(&[(0, b"QED\0")]);
        let vmdk = head(&[(0, b"KDMV")]);
        let two = head(&[(0, b"vhdxfile"), (32769, b"NSR02")]);
        let all = ["raw", "gpt", "iso", "luks", "vmdk", "vdi", "vhdx", "qed"].map(str::to_owned);
        let few = ["raw"].map(str::to_owned);
        for (declared, image, permitted, said) in [
            // Permitted, but not a disk that is written from.
            (Some("vmdk"), &vmdk, &all[..], "format vmdk are not written"),
            (None, &vdi, &all, "format vdi are not written"),
            (None, &qed, &all, "format qed are not written"),
            // Not permitted, whatever is declared.
            (
                Some("vmdk"),
                &vmdk,
                &few,
                "Detected image format was vmdk, but only raw",
            ),
            (
                None,
                &vdi,
                &few,
                "Detected image format was vdi, but only raw",
            ),
            (None, &luks(1), &few, "Detected image format was luks"),
            (
                Some("unheard-of"),
                &vmdk,
                &all,
                "Expected format was unheard-of",
            ),
            // Not what it says.
            (
                Some("vhd"),
                &vdi,
                &all,
                "Expected format was vhd, but image was actually vdi",
            ),
            (
                Some("raw"),
                &vdi,
                &all,
                "Expected format was raw, but image was actually vdi",
            ),
            (
                Some("iso"),
                &luks(1),
                &all,
                "Expected format was iso, but image was actually luks",
            ),
            // Two things at once, or broken in itself.
            (None, &two, &all, "multiple potential formats: vhdx, iso"),
            (None, &luks(2), &all, "LUKS version is 2"),
        ] {
            let failure = decide(declared, image, permitted, true).unwrap_err();
            assert_eq!(failure.kind, FailureKind::InvalidImage);
            assert!(failure.details.contains(said), "{failure}");
        }
        let decided = |declared, image: &[u8], is_inspected| {
            decide(declared, image, &all, is_inspected).map_err(|failure| failure.details)
        };
        assert_eq!(decided(None, &luks(1), true), Ok(Format::Luks));
        // Without inspection the declaration alone counts, and what cannot be written is not.
        assert_eq!(decided(Some("luks"), &luks(2), false), Ok(Format::Luks));
        assert!(decided(Some("vmdk"), &luks(1), false).is_err());
        assert!(decided(Some("unheard-of"), &luks(1), false).is_err());
    }

    #[test]
    fn a_fat_file_system_is_no_partition_table() {
        let fat = crate::machine::block::guarded_filesystem::tests::fat(*b"NO NAME    ");
        for medium in 0..=0xff {
            let mut fat = fat.clone();
            fat[0x15] = medium;
            // A medium that is none is no FAT's.
            let is_fat = matches!(medium, 0xf0 | 0xf8..);
            assert_eq!(sniff(&fat).is_empty(), is_fat, "{medium:#x}");
        }
        let mut partitioned = fat;
        partitioned[450] = 0x83;
        assert_eq!(sniff(&partitioned), [Format::Gpt]);
        // Boot code may have any bytes.
        let code = head(&[(0x10, &[2]), (0x15, &[0xf8]), (510, &[0x55, 0xaa])]);
        assert_eq!(sniff(&code), [Format::Gpt]);
    }

    #[test]
    fn foreign_bytes() {
        let permitted = ["raw", "gpt", "iso", "luks", "qcow2", "vmdk"].map(str::to_owned);
        crate::fuzz::run("format", |bytes| {
            for declared in [None, Some("raw"), Some("gpt"), Some("qcow2"), Some("iso")] {
                let decided = decide(declared, bytes, &permitted, true);
                // What is declared is never read as another container.
                if let (Some(declared), Ok(format)) = (declared, &decided) {
                    let is_kept = format.name() == declared
                        || format.is_compression()
                        || (*format == Format::Raw && declared == "gpt");
                    assert!(is_kept, "{declared} became {}", format.name());
                }
                let _ = decide(declared, bytes, &permitted, false);
            }
        });
    }
}
