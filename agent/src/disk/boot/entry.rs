//! What `efibootmgr -v` prints: the firmware's boot entries.

/// The kinds of device path that an entry may begin with. Other lines are not entries.
const PATHS: [&str; 8] = [
    "BBS(",
    "HD(",
    "FvFile(",
    "FvVol(",
    "PciRoot(",
    "VenMsg(",
    "VenHw(",
    "UsbClass(",
];

/// One entry of the boot menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Hexadecimal digits as printed: `000A`.
    pub number: String,
    /// The label without blanks at its end.
    pub label: String,
    /// The kind of the device path: `HD`.
    pub kind: &'static str,
    /// The device path, and whatever is printed after it.
    pub path: String,
}

/// Reads all entries. Some firmware makes `efibootmgr` print UTF-16, and labels hold bytes
/// of every kind, so nothing here fails.
#[must_use]
pub fn parse(output: &[u8]) -> Vec<BootEntry> {
    let wide = decode_utf16(output);
    if wide.lines().any(|line| line.starts_with("BootCurrent: ")) {
        wide.lines().filter_map(parse_line).collect()
    } else {
        String::from_utf8_lossy(output)
            .lines()
            .filter_map(parse_line)
            .collect()
    }
}

/// UTF-16, little endian unless marked otherwise; invalid UTF-16 becomes replacement characters.
#[must_use]
pub fn decode_utf16(bytes: &[u8]) -> String {
    let (bytes, is_big) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, false),
        [0xfe, 0xff, rest @ ..] => (rest, true),
        all => (all, false),
    };
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if is_big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        }
    });
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// `Boot000A* Label<blanks>HD(1,GPT,...)/File(...)`
fn parse_line(line: &str) -> Option<BootEntry> {
    let rest = line.strip_prefix("Boot")?;
    let digits = rest
        .find(|letter: char| !letter.is_ascii_hexdigit())
        .filter(|digits| *digits > 0)?;
    let (number, rest) = rest.split_at(digits);
    let rest = rest.strip_prefix('*').unwrap_or(rest);
    let label_on = rest.trim_start();
    if label_on.len() == rest.len() {
        return None;
    }
    let path_kind = |path: &str| PATHS.iter().find(|kind| path.starts_with(**kind)).copied();
    // The first blank before a path ends the label: labels may hold anything else.
    let labelled = label_on
        .char_indices()
        .filter(|(_, letter)| letter.is_whitespace())
        .find_map(|(at, letter)| {
            let start = at + letter.len_utf8();
            Some((start, path_kind(&label_on[start..])?))
        });
    // An entry without a label has the blank before the label and the one after it.
    let unlabelled = || {
        rest.chars()
            .nth(1)
            .filter(|letter| letter.is_whitespace())?;
        Some((0, path_kind(label_on)?))
    };
    let (at, kind) = labelled.or_else(unlabelled)?;
    let (label, path) = label_on.split_at(at);
    Some(BootEntry {
        number: number.to_owned(),
        label: label.trim_end().to_owned(),
        kind: kind.trim_end_matches('('),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as machines of several makers print them.
    const SAMPLE: &str = "BootCurrent: 0001\n\
        Timeout: 0 seconds\n\
        BootOrder: 0000,0001,0002,0003,0004,0005,0006,0007,0008,0009,000B\n\
        Boot0000* Red Hat Enterprise Linux\tHD(1,GPT,34178504-2340-4fe0-8001-264372cf9b2d,0x800,0x64000)/File(\\EFI\\redhat\\shimx64.efi)\n\
        Boot0003  ThinkShield secure wipe\tFvFile(3593a0d5-bd52-43a0-808e-cbff5ece2477)\n\
        Boot0004  LENOVO CLOUD\tVenMsg(bc7838d2-0f82-4d60-8316-c068ee79d25b,ad38ccbbf7)/Uri(https://download.lenovo.com)\n\
        Boot0005  IDER BOOT CDROM\tPciRoot(0x0)/Pci(0x14,0x0)/USB(11,1)\n\
        Boot0006 ATA HDD\tVenMsg(bc7838d2-0f82-4d60-8316-c068ee79d25b,91af625956)\n\
        Boot0007* Hard drive C: VenHw(d6c0639f-c705-4eb9-aa4f-5802d8823de6)......A.....P.E.R.C.\n\
        BootAAA8* IBA GE Slot 0100 v1588        BBS(128,IBA GE Slot 0100 v1588,0x0)........................B.............................A\n\
        Boot0FF9* Virtual CD/DVD        PciRoot(0x0)/Pci(0x14,0x0)/USB(13,0)/USB(3,0)\n\
        Boot123A* Integrated NIC 1 Port 1 Partition 1   VenHw(33391845-5f86-4e78-8fce-c4cff59f9daf)\n\
        Boot000B* UEFI: PXE IPv4 Realtek PCIe 2.5GBE Family Controller\tPciRoot(0x0)/Pci(0x1c,0x0)/MAC([000000000000],0)/IPv4(0.0.0.00.0.0.0,0,0)..BO\n\
        Boot0008* Generic USB Boot UsbClass(ffff,ffff,255,255)\n\
        Boot0009* Internal CD/DVD ROM Drive (UEFI)      PciRoot(0x0)/Pci(0x11,0x0)/Sata(1,65535,0)/CDROM(1,0x265,0x2000)\n\
        Boot0010: VENDMAGIC FvFile(9f3c6294-bf9b-4208-9808-be45dfc34b51)N.....YM....R,Y.\n\
        Boot0011* Strange\tNVMe(1)/Path\n\
        MirrorStatus: Platform does not support address range mirror\n";

    fn found(output: &[u8]) -> Vec<(String, String, &'static str)> {
        parse(output)
            .into_iter()
            .map(|entry| (entry.number, entry.label, entry.kind))
            .collect()
    }

    #[test]
    fn entries_of_every_maker_are_read_in_both_encodings() {
        let expected: Vec<_> = [
            ("0000", "Red Hat Enterprise Linux", "HD"),
            ("0003", "ThinkShield secure wipe", "FvFile"),
            ("0004", "LENOVO CLOUD", "VenMsg"),
            ("0005", "IDER BOOT CDROM", "PciRoot"),
            ("0006", "ATA HDD", "VenMsg"),
            ("0007", "Hard drive C:", "VenHw"),
            ("AAA8", "IBA GE Slot 0100 v1588", "BBS"),
            ("0FF9", "Virtual CD/DVD", "PciRoot"),
            ("123A", "Integrated NIC 1 Port 1 Partition 1", "VenHw"),
            (
                "000B",
                "UEFI: PXE IPv4 Realtek PCIe 2.5GBE Family Controller",
                "PciRoot",
            ),
            ("0008", "Generic USB Boot", "UsbClass"),
            ("0009", "Internal CD/DVD ROM Drive (UEFI)", "PciRoot"),
        ]
        .into_iter()
        .map(|(number, label, kind)| (number.to_owned(), label.to_owned(), kind))
        .collect();
        assert_eq!(found(SAMPLE.as_bytes()), expected);
        let wide: Vec<u8> = SAMPLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found(&wide), expected);
    }

    #[test]
    fn entries_without_a_label_are_entries() {
        for (line, expected) in [
            ("Boot0001* \tHD(1,GPT)/File(x)", Some(("", "HD"))),
            ("Boot0001  \tVenHw(1)", Some(("", "VenHw"))),
            ("Boot0001  HD(1)", Some(("", "HD"))),
            // A label may look like a path.
            (
                "Boot0001  HD(1) old\tVenHw(1)",
                Some(("HD(1) old", "VenHw")),
            ),
            // One blank is not two.
            ("Boot0001* HD(1)", None),
            ("Boot0001*", None),
        ] {
            let entry = parse(line.as_bytes()).pop();
            let found = entry
                .as_ref()
                .map(|entry| (entry.label.as_str(), entry.kind));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_an_entry() {
        let mut line =
            b"BootCurrent: 0001\nBoot0000 UTF16\xff HD(1,GPT,1-2)File(\\EFI\\Boot\\BOOTX64.EFI)\n"
                .to_vec();
        assert_eq!(found(&line)[0].1, "UTF16\u{fffd}");
        line.push(0xff);
        assert_eq!(found(&line).len(), 1);
        assert_eq!(found(b""), []);
        assert_eq!(found(b"Boot"), []);
        assert_eq!(found(b"Boot0001"), []);
    }

    #[test]
    fn utf16_is_read_with_and_without_a_mark() {
        let text = "shimx64.efi,Label,,Text";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode_utf16(&little), text);
        assert_eq!(
            decode_utf16(&[&[0xff, 0xfe], little.as_slice()].concat()),
            text
        );
        assert_eq!(
            decode_utf16(&[&[0xfe, 0xff], big.as_slice()].concat()),
            text
        );
        assert_eq!(decode_utf16(&[1]), "");
    }

    #[test]
    fn damaged_input() {
        ironic_fuzz::run("firmware", |bytes| {
            let _ = parse(bytes);
            let _ = decode_utf16(bytes);
        });
    }
}
