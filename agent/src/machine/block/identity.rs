//! What a disk is called: model, serial numbers and World Wide Names. udev's database is asked
//! first; without it the disk is given the names that udev's programs (`ata_id`, `scsi_id`,
//! `usb_id`) and rules would give it, from the same answers of the disk, which the kernel keeps.

use super::scsi_address::ScsiAddress;
use crate::machine::block::BlockDevice;
use crate::machine::block::scsi::{self, AtaIdentity, Designator};
use crate::machine::block::udev::{self, Properties};
use crate::machine::topology::{Chain, name_of};
use crate::system::PathPrefix;

/// The names of a disk, the first of each kind the one that `lsblk` shows.
#[derive(Debug, Default)]
pub(super) struct DiskNames {
    model: Option<String>,
    serials: Vec<String>,
    wwns: Vec<String>,
    with_extension: Option<String>,
    vendor_extension: Option<String>,
}

impl DiskNames {
    /// Those of a multipath map: udev's for it, then those of the disk behind a path.
    pub(super) fn of_map(root: &PathPrefix, path: &Chain<'_>, properties: &Properties) -> Self {
        let number = path.attribute("dev").unwrap_or_default();
        let mut names = Self::read(path, &Properties::of_block(root, &number));
        let property = |key: &str| properties.first(&[key]).map(str::to_owned);
        let before = |keys: [&str; 2], known: &mut Vec<String>| {
            known.splice(0..0, keys.into_iter().filter_map(property));
            deduplicate(known);
        };
        before(["DM_SERIAL_SHORT", "DM_SERIAL"], &mut names.serials);
        before(["DM_WWN_WITH_EXTENSION", "DM_WWN"], &mut names.wwns);
        names.with_extension = property("DM_WWN_WITH_EXTENSION").or(names.with_extension);
        names.vendor_extension = property("DM_WWN_VENDOR_EXTENSION").or(names.vendor_extension);
        names
    }

    /// udev's names first, in the order in which `lsblk` prefers them, then those that are read
    /// from the kernel.
    pub(super) fn read(chain: &Chain<'_>, properties: &Properties) -> Self {
        let property = |keys: &[&str]| properties.first(keys).map(str::to_owned);
        let serials = [
            &["SCSI_IDENT_SERIAL"][..],
            &["ID_SCSI_SERIAL"],
            &["ID_SERIAL_SHORT"],
            &["ID_SERIAL"],
        ];
        let serials = serials.into_iter().filter_map(|keys| {
            let serial = normalized(properties.first(keys)?);
            (!serial.is_empty()).then_some(serial)
        });
        let mut names = Self {
            model: properties
                .first(&["ID_MODEL_ENC"])
                .map(udev::decode)
                .or_else(|| property(&["ID_MODEL"])),
            serials: serials.collect(),
            wwns: [property(&["ID_WWN_WITH_EXTENSION"]), property(&["ID_WWN"])]
                .into_iter()
                .flatten()
                .collect(),
            with_extension: property(&["ID_WWN_WITH_EXTENSION"]),
            vendor_extension: property(&["ID_WWN_VENDOR_EXTENSION"]),
        };
        names.add(KernelNames::read(chain));
        names.model = names.model.map(|model| normalized(&model));
        names
    }

    /// Puts the kernel's names after udev's.
    fn add(&mut self, native: KernelNames) {
        if self.model.is_none() {
            self.model = native.model;
        }
        let serials = native.serials.iter().map(|serial| normalized(serial));
        self.serials
            .extend(serials.filter(|serial| !serial.is_empty()));
        self.wwns.extend(native.wwns);
        if self.with_extension.is_none() {
            self.with_extension = native.with_extension;
            self.vendor_extension = self.vendor_extension.take().or(native.vendor_extension);
        }
        deduplicate(&mut self.serials);
        deduplicate(&mut self.wwns);
    }

    pub(super) fn put_into(self, device: BlockDevice) -> BlockDevice {
        let (mut serials, mut wwns) = (self.serials.into_iter(), self.wwns.into_iter());
        BlockDevice {
            model: self.model.unwrap_or_default(),
            serial: serials.next(),
            other_serials: serials.collect(),
            wwn: wwns.next(),
            other_wwns: wwns.collect(),
            wwn_with_extension: self.with_extension,
            wwn_vendor_extension: self.vendor_extension,
            ..device
        }
    }
}

fn deduplicate(texts: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
}

/// White space at both ends removed, and runs of it made one blank, as `lsblk` prints models
/// and serial numbers.
fn normalized(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ")
}

/// The names that the kernel can tell.
#[derive(Debug, Default)]
struct KernelNames {
    model: Option<String>,
    serials: Vec<String>,
    wwns: Vec<String>,
    with_extension: Option<String>,
    vendor_extension: Option<String>,
}

impl KernelNames {
    fn read(chain: &Chain<'_>) -> Self {
        if name_of(chain.path()).starts_with("nvme") {
            return Self::of_nvme(chain);
        }
        let scsi = chain
            .link_name(&chain.path().join("device"))
            .and_then(|name| ScsiAddress::parse(&name));
        match scsi {
            Some(address) => Self::of_scsi(chain, address),
            // virtio and cards.
            None => Self {
                model: chain
                    .attribute("device/model")
                    .or_else(|| chain.attribute("device/name")),
                serials: [chain.attribute("serial"), chain.attribute("device/serial")]
                    .into_iter()
                    .flatten()
                    .collect(),
                wwns: chain.attribute("wwid").into_iter().collect(),
                ..Self::default()
            },
        }
    }

    /// The drive's number, and the names that udev makes of it, with and without the
    /// namespace's.
    fn of_nvme(chain: &Chain<'_>) -> Self {
        let model = chain.attribute("device/model");
        let serial = chain
            .attribute("device/serial")
            .or_else(|| chain.attribute("serial"));
        let joined = model.as_ref().zip(serial.as_ref()).map(|(model, serial)| {
            scsi::replaced_characters(format!("{model}_{serial}").as_bytes())
        });
        let of_namespace = joined.as_ref().and_then(|joined| {
            let namespace = chain.attribute("nsid")?;
            Some(format!("{joined}_{namespace}"))
        });
        Self {
            model,
            serials: [serial, of_namespace, joined]
                .into_iter()
                .flatten()
                .collect(),
            // `eui.`, `nvme.` and `uuid.` names are given as they are.
            wwns: chain.attribute("wwid").into_iter().collect(),
            ..Self::default()
        }
    }

    /// All names of a disk behind SCSI commands. udev asks ATA disks for their IDENTIFY, disks
    /// on USB for what the bridge says, and others for pages 83h and 80h. A hint may have been
    /// made from any of them, so all of them count; the order is that of udev.
    fn of_scsi(chain: &Chain<'_>, address: ScsiAddress) -> Self {
        let page = |name: &str| {
            let path = chain.path().join("device").join(name);
            std::fs::read(chain.root().path(path)).ok()
        };
        let text = |name: &str| page(name).unwrap_or_default();
        let inquiry = scsi::Inquiry {
            vendor: &text("vendor"),
            model: &text("model"),
        };
        let ata = page("vpd_pg89").map(|page| scsi::parse_ata_page(&page));
        let usb = UsbDisk::read(chain, inquiry, address);
        let is_removable = chain.attribute("removable").as_deref() == Some("1");
        let is_ata = chain.attribute("device/vendor").as_deref() == Some("ATA")
            || usb.is_some() && !is_removable;
        let (ata_first, ata_last) = match ata {
            Some(ata) if is_ata => (ata, AtaIdentity::default()),
            ata => (AtaIdentity::default(), ata.unwrap_or_default()),
        };
        let wwid = chain
            .attribute("device/wwid")
            .or_else(|| chain.attribute("wwid"));
        let designator = page("vpd_pg83")
            .and_then(|page| Designator::of_page(&page, inquiry))
            .or_else(|| wwid.as_deref().and_then(Designator::of_wwid));
        let wwn = ata_first
            .world_wide_name
            .as_deref()
            .and_then(scsi::parse_wwid)
            .or_else(|| designator.as_ref()?.world_wide_name())
            .or_else(|| scsi::parse_wwid(wwid.as_deref()?));
        let mut serials: Vec<String> = ata_first.serials().collect();
        serials.extend(usb.iter().flat_map(|usb| usb.serials.clone()));
        serials.extend(serials_of_unit(&text("vpd_pg80"), inquiry, designator));
        serials.extend(ata_last.serials());
        serials.extend(chain.attribute("serial"));
        serials.extend(chain.attribute("device/serial"));
        Self {
            serials,
            // SCSI shows 16 characters of the model of an ATA disk.
            model: ata_first
                .model
                .or_else(|| usb?.product)
                .or_else(|| chain.attribute("device/model")),
            wwns: wwn
                .iter()
                .flat_map(|wwn| [wwn.with_extension.clone(), wwn.short.clone()])
                .collect(),
            with_extension: wwn.as_ref().map(|wwn| wwn.with_extension.clone()),
            vendor_extension: wwn.and_then(|wwn| wwn.vendor_extension),
        }
    }
}

/// The serial numbers of a SCSI unit: those of its page 80h and of its designator, else what
/// `scsi_id` makes of a disk without page 83h.
fn serials_of_unit(
    page: &[u8],
    inquiry: scsi::Inquiry<'_>,
    designator: Option<Designator>,
) -> Vec<String> {
    let mut serials: Vec<String> = scsi::parse_serial_page(page).into_iter().collect();
    if let Some(found) = designator {
        serials.extend([found.short, found.long]);
    } else if let Some(serial) = scsi::serial_field(page) {
        let whole = scsi::serial_with_inquiry(inquiry, serial);
        serials.extend([scsi::replaced(serial), whole]);
    }
    serials
}

/// What a USB device says of the disk that it is, or that is behind it.
#[derive(Debug)]
struct UsbDisk {
    /// The stick's or bridge's own number, and the name that `usb_id` makes of vendor, model,
    /// that number and the unit behind the bridge.
    serials: Vec<String>,
    /// The product, where the device does not take SCSI commands as disks do.
    product: Option<String>,
}

impl UsbDisk {
    fn read(chain: &Chain<'_>, inquiry: scsi::Inquiry<'_>, address: ScsiAddress) -> Option<Self> {
        let device = chain.nearest("usb", |name| name.contains('-') && !name.contains(':'))?;
        let attribute = |name: &str| chain.attribute_of(device, name);
        let replaced = |text: String| scsi::replaced(text.as_bytes());
        let interface = chain.nearest("usb", |name| name.contains(':'));
        let of_interface = |name: &str| chain.attribute_of(interface?, name);
        // Mass storage that is transparent for SCSI, or ATAPI.
        let is_transparent = of_interface("bInterfaceClass").is_none_or(|class| class == "08")
            && of_interface("bInterfaceSubClass")
                .is_none_or(|subclass| ["02", "06"].contains(&subclass.as_str()));
        let name = |of_unit: &[u8], names: [&str; 2]| {
            let of_unit = scsi::replaced(of_unit);
            let of_device = || names.into_iter().find_map(attribute).map(replaced);
            Some(of_unit)
                .filter(|text| is_transparent && !text.is_empty())
                .or_else(of_device)
        };
        let is_printable = |text: &String| {
            text.bytes()
                .all(|byte| (0x20..=0x7f).contains(&byte) && byte != b',')
        };
        let serial = attribute("serial").filter(is_printable).map(replaced);
        let vendor = name(inquiry.vendor, ["manufacturer", "idVendor"]);
        let model = name(inquiry.model, ["product", "idProduct"]);
        let whole = vendor.zip(model).map(|(vendor, model)| {
            let serial = serial.as_ref().map(|serial| format!("_{serial}"));
            let unit = is_transparent.then(|| format!("-{}:{}", address.target, address.lun));
            let (serial, unit) = (serial.unwrap_or_default(), unit.unwrap_or_default());
            format!("{vendor}_{model}{serial}{unit}")
        });
        Some(Self {
            serials: serial.into_iter().chain(whole).collect(),
            product: attribute("product").filter(|_| !is_transparent),
        })
    }
}
