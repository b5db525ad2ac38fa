//! How SCSI and ATA disks name themselves, in the answers that the kernel keeps in
//! `/sys/block/<disk>/device/{wwid,vpd_pg80,vpd_pg83,vpd_pg89}`.
//!
//! Layouts: SCSI Primary Commands (pages 80h and 83h), SCSI/ATA Translation (page 89h, which
//! carries the drive's whole IDENTIFY DEVICE answer). Of several designators in a page 83h, and
//! in the texts that are made of them, udev's `scsi_id` and `ata_id` are followed: operators
//! copy serial numbers from what udev shows.

use ironic_ondisk::read::be_u16;

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
    printable(serial_field(page)?)
}

/// The bytes of the serial number in a page 80h.
pub(crate) fn serial_field(page: &[u8]) -> Option<&[u8]> {
    let length = usize::from(be_u16(page, 2)?);
    let text = page.get(4..)?;
    Some(text.get(..length).unwrap_or(text))
}

/// The vendor and the model in a SCSI disk's standard answer to INQUIRY, as the kernel shows
/// them: padded with blanks to 8 and 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inquiry<'a> {
    /// Vendor.
    pub(crate) vendor: &'a [u8],
    /// Model.
    pub(crate) model: &'a [u8],
}

impl Inquiry<'_> {
    /// Both, at their lengths on the wire.
    fn padded(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        for (text, length) in [(self.vendor, 8), (self.model, 16)] {
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            let start = bytes.len();
            bytes.extend(text.iter().take(length));
            bytes.resize(start + length, b' ');
        }
        bytes
    }
}

/// The name that `scsi_id` gives a disk that has a page 80h only.
pub(crate) fn serial_with_inquiry(inquiry: Inquiry<'_>, serial: &[u8]) -> String {
    replaced(&[b"S", inquiry.padded().as_slice(), serial].concat())
}

/// A name of a logical unit from its page 83h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Designator {
    /// The digit of its type.
    kind: u8,
    /// Its text: hexadecimal digits, or characters.
    pub(crate) short: String,
    /// The text after the digit of its type, by which names of different types differ.
    pub(crate) long: String,
}

/// Types of designators, and of NAA ones the value of the first half byte, in `scsi_id`'s order
/// of preference: NAA extended, NAA, any other NAA, EUI-64, T10 vendor, vendor specific.
const PREFERENCE: [(u8, Option<u8>); 6] = [
    (3, Some(6)),
    (3, Some(5)),
    (3, None),
    (2, None),
    (1, None),
    (0, None),
];

impl Designator {
    /// The bytes of a page that `scsi_id` asks for.
    const MAX_PAGE_BYTES: usize = 254;

    /// The designator of the logical unit that `scsi_id` prefers.
    pub(crate) fn of_page(page: &[u8], inquiry: Inquiry<'_>) -> Option<Self> {
        let page = page.get(..Self::MAX_PAGE_BYTES).unwrap_or(page);
        (*page.get(1)? == 0x83).then_some(())?;
        let length = usize::from(be_u16(page, 2)?);
        let body = page.get(4..)?;
        let body = body.get(..length).unwrap_or(body);
        // Pages by older standards hold one bare NAA name; in later ones this byte is reserved.
        if *body.get(2)? != 0 {
            let digits = format!("3{}", hex::encode(body));
            return Some(Self {
                // `scsi_id` makes no World Wide Name of it.
                kind: b'0',
                short: digits.clone(),
                long: digits,
            });
        }
        let designators: Vec<_> = descriptors(body).collect();
        let binary_first = [1, 2];
        PREFERENCE
            .iter()
            .flat_map(|preference| binary_first.map(|code_set| (preference, code_set)))
            .find_map(|((kind, subtype), code_set)| {
                let fits = |found: &&Descriptor<'_>| {
                    let first = found.identifier.first().map(|byte| byte >> 4);
                    found.kind == *kind
                        && found.code_set == code_set
                        && subtype.is_none_or(|subtype| first == Some(subtype))
                };
                designators
                    .iter()
                    .find(fits)
                    .map(|found| Self::new(found, inquiry))
            })
    }

    fn new(found: &Descriptor<'_>, inquiry: Inquiry<'_>) -> Self {
        let text = if found.code_set == 2 {
            found.identifier.to_vec()
        } else {
            hex::encode(found.identifier).into_bytes()
        };
        // What a vendor chose freely is unique among its own disks only.
        let before = if found.kind == 0 {
            inquiry.padded()
        } else {
            Vec::new()
        };
        let kind = b'0' + found.kind;
        Self {
            kind,
            short: replaced(&text),
            long: replaced(&[&[kind], before.as_slice(), &text].concat()),
        }
    }

    /// The designator that the kernel prefers, by its text.
    pub(crate) fn of_wwid(wwid: &str) -> Option<Self> {
        let (kind, text) = wwid.split_once('.')?;
        let kind = match kind {
            "naa" => b'3',
            "eui" => b'2',
            "t10" => b'1',
            _ => return None,
        };
        let long = [&[kind], text.as_bytes()].concat();
        let designator = Self {
            kind,
            short: replaced(text.as_bytes()),
            long: replaced(&long),
        };
        (!designator.short.is_empty()).then_some(designator)
    }

    /// The World Wide Name; `None` for designators of other types than NAA.
    pub(crate) fn world_wide_name(&self) -> Option<WorldWideName> {
        (self.kind == b'3').then(|| parse_wwid(&format!("naa.{}", self.short)))?
    }
}

/// One designator in a page.
struct Descriptor<'a> {
    code_set: u8,
    kind: u8,
    identifier: &'a [u8],
}

/// The designators of the logical unit itself; others name its port or its target.
fn descriptors(mut body: &[u8]) -> impl Iterator<Item = Descriptor<'_>> {
    std::iter::from_fn(move || {
        let [code_set, kind, _, length, rest @ ..] = body else {
            return None;
        };
        let identifier = rest.get(..usize::from(*length))?;
        body = &rest[identifier.len()..];
        Some((
            kind & 0x30,
            Descriptor {
                code_set: code_set & 0xf,
                kind: kind & 0xf,
                identifier,
            },
        ))
    })
    .filter(|(association, _)| *association == 0)
    .map(|(_, descriptor)| descriptor)
}

/// A text as udev writes it into a name: white space at its ends removed, runs of white space
/// made one `_`, and then every character that does not belong into the name of a file made
/// `_`. A zero ends it.
pub(crate) fn replaced(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    let words = bytes.split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    replaced_characters(&words.join(&b'_'))
}

/// The characters of a text as udev writes them into a name.
pub(crate) fn replaced_characters(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|letter| {
            let fits =
                letter.is_ascii_alphanumeric() || "#+-.:=@_".contains(letter) || !letter.is_ascii();
            if fits { letter } else { '_' }
        }));
        text.extend(chunk.invalid().iter().map(|_| '_'));
    }
    text
}

/// What an ATA drive says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AtaIdentity {
    /// The whole model, of which SCSI shows 16 characters.
    pub(crate) model: Option<String>,
    /// The serial number.
    pub(crate) serial: Option<String>,
    /// The World Wide Name in the kernel's form, `naa.5000c500a1b2c3d4`.
    pub(crate) world_wide_name: Option<String>,
}

impl AtaIdentity {
    /// The serial number, and the name that `ata_id` makes of model and serial number.
    pub(crate) fn serials(&self) -> impl Iterator<Item = String> + use<> {
        self.serial.clone().into_iter().chain(self.name())
    }

    fn name(&self) -> Option<String> {
        let model = replaced(self.model.as_deref()?.as_bytes());
        Some(match &self.serial {
            Some(serial) => format!("{model}_{}", replaced(serial.as_bytes())),
            None => model,
        })
    }
}

/// Reads an IDENTIFY DEVICE answer, which begins at byte 60 of a page 89h: words 10–19 are
/// the serial number, words 27–46 the model, two characters to a word, the first in the
/// upper byte; words 108–111 the World Wide Name, the highest word first.
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
    let name = page.get(IDENTIFY + 216..IDENTIFY + 224).map(|bytes| {
        let words = bytes.chunks_exact(2).map(|pair| [pair[1], pair[0]]);
        hex::encode(words.flatten().collect::<Vec<u8>>())
    });
    AtaIdentity {
        model: words(27, 47),
        serial: words(10, 20),
        // The standard knows no other kind.
        world_wide_name: name
            .filter(|name| name.starts_with('5'))
            .map(|name| format!("naa.{name}")),
    }
}

/// The text of a field padded with blanks or zeros, as far as it can be read; `None` when
/// nothing is in it.
fn printable(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    let is_readable =
        |letter: &char| !letter.is_control() && *letter != char::REPLACEMENT_CHARACTER;
    let text: String = text.chars().filter(is_readable).collect();
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

    /// A drive's answer to IDENTIFY with this model, serial number and World Wide Name.
    pub(crate) fn identify(model: &str, serial: &str, name: u64) -> Vec<u8> {
        let mut identify = ata_page(model, serial)[60..].to_vec();
        for (index, pair) in name.to_be_bytes().chunks(2).enumerate() {
            identify[216 + 2 * index] = pair[1];
            identify[217 + 2 * index] = pair[0];
        }
        identify
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
