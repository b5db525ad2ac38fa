//! How SCSI and ATA disks name themselves, in the answers that the kernel keeps in
//! `/sys/block/<disk>/device/{wwid,vpd_pg80,vpd_pg89}`.
//!
//! Layouts: SCSI Primary Commands (pages 80h and 83h), SCSI/ATA Translation (page 89h, which
//! carries the drive's whole IDENTIFY DEVICE answer).

/// A World Wide Name in udev's three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorldWideName {
    /// The first 16 digits: `0x5000c500a1b2c3d4`.
    pub(crate) short: String,
    /// The 16 digits that a vendor appends to a long name.
    pub(crate) vendor_extension: Option<String>,
    /// All digits.
    pub(crate) with_extension: String,
}

/// Reads a `wwid` of the form `naa.5000c500a1b2c3d4`. Other forms are no World Wide Names.
pub(crate) fn parse_wwid(wwid: &str) -> Option<WorldWideName> {
    let digits = wwid.strip_prefix("naa.")?.to_ascii_lowercase();
    if digits.len() < 16 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (short, extension) = digits.split_at(16);
    Some(WorldWideName {
        short: format!("0x{short}"),
        vendor_extension: (!extension.is_empty()).then(|| format!("0x{extension}")),
        with_extension: format!("0x{digits}"),
    })
}

/// Reads the serial number of a page 80h: four bytes of header, the length in the last two.
pub(crate) fn parse_serial_page(page: &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(*page.get(2..4)?.first_chunk()?));
    let text = page.get(4..)?;
    printable(text.get(..length).unwrap_or(text))
}

/// What an ATA drive says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AtaIdentity {
    /// The whole model, of which SCSI shows 16 characters.
    pub(crate) model: Option<String>,
    /// The serial number.
    pub(crate) serial: Option<String>,
}

/// Reads an IDENTIFY DEVICE answer, which begins at byte 60 of a page 89h: words 10–19 are
/// the serial number, words 27–46 the model, two characters to a word, the first in the
/// upper byte.
pub(crate) fn parse_ata_page(page: &[u8]) -> AtaIdentity {
    const IDENTIFY: usize = 60;
    let words = |from: usize, to: usize| {
        let bytes = page.get(IDENTIFY + 2 * from..IDENTIFY + 2 * to)?;
        let swapped: Vec<u8> = bytes
            .chunks_exact(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .collect();
        printable(&swapped)
    };
    AtaIdentity {
        model: words(27, 47),
        serial: words(10, 20),
    }
}

/// The text of a field padded with blanks or zeros; `None` when nothing is in it.
fn printable(bytes: &[u8]) -> Option<String> {
    let text: String = bytes
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A page 89h of a drive with this model and serial number.
    pub(crate) fn ata_page(model: &str, serial: &str) -> Vec<u8> {
        let mut page = vec![0; 572];
        let mut put = |word: usize, length: usize, text: &str| {
            let text = format!("{text:length$}");
            for (at, pair) in text.as_bytes().chunks(2).enumerate() {
                page[60 + 2 * (word + at)] = pair[1];
                page[60 + 2 * (word + at) + 1] = pair[0];
            }
        };
        put(27, 40, model);
        put(10, 20, serial);
        page
    }

    #[test]
    fn reads_world_wide_names() {
        let short = parse_wwid("naa.5002538e40a1b2c3").unwrap();
        assert_eq!(short.short, "0x5002538e40a1b2c3");
        assert_eq!(short.with_extension, short.short);
        assert_eq!(short.vendor_extension, None);

        let long = parse_wwid("naa.600508B1001C5D3E0123456789ABCDEF").unwrap();
        assert_eq!(long.short, "0x600508b1001c5d3e");
        assert_eq!(long.vendor_extension.as_deref(), Some("0x0123456789abcdef"));
        assert_eq!(long.with_extension, "0x600508b1001c5d3e0123456789abcdef");

        for other in [
            "t10.ATA     QEMU HARDDISK",
            "eui.0025385b71b00000",
            "naa.12",
            "naa.zz02538e40a1b2c3",
            "",
        ] {
            assert_eq!(parse_wwid(other), None, "{other}");
        }
    }

    #[test]
    fn reads_serial_numbers_and_models() {
        assert_eq!(
            parse_serial_page(b"\0\x80\0\x0a  Z1ABCDEF").as_deref(),
            Some("Z1ABCDEF")
        );
        assert_eq!(
            parse_serial_page(b"\0\x80\0\x04Z1ABCDEF").as_deref(),
            Some("Z1AB")
        );
        assert_eq!(parse_serial_page(b"\0\x80\0\xffZ1").as_deref(), Some("Z1"));
        assert_eq!(parse_serial_page(b"\0\x80\0\x04    "), None);
        assert_eq!(parse_serial_page(b"\0\x80"), None);

        let identity = parse_ata_page(&ata_page("Samsung SSD 860 EVO 1TB", "S3Z9NB0K123456X"));
        assert_eq!(identity.model.as_deref(), Some("Samsung SSD 860 EVO 1TB"));
        assert_eq!(identity.serial.as_deref(), Some("S3Z9NB0K123456X"));
        assert_eq!(parse_ata_page(&[0; 100]), AtaIdentity::default());
    }
}
