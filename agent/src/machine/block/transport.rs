//! How a disk is attached, in the words of `lsblk`.
//!
//! The kernel's classes of host adapters decide: a volume of a SAS RAID controller is `sas`
//! though no SAS device is above it, and FCoE is FC whose adapter says so.

use std::path::Path;

use super::scsi_address::ScsiAddress;
use crate::machine::topology::{Chain, name_of, number_after};

/// The transport of a disk; `None` where `lsblk` leaves it empty.
pub(super) fn transport(chain: &Chain<'_>) -> Option<&'static str> {
    let scsi = chain
        .link_name(&chain.path().join("device"))
        .and_then(|name| ScsiAddress::parse(&name));
    if let Some(address) = scsi {
        let adapter = Adapter {
            chain,
            number: address.host,
        };
        if let Some(answer) = adapter.transport() {
            return answer;
        }
    }
    let name = name_of(chain.path());
    let drivers = [("nvme", "nvme"), ("vd", "virtio"), ("mmcblk", "mmc")];
    let driver = drivers.iter().find(|(prefix, _)| name.starts_with(prefix));
    driver.map(|(_, transport)| *transport)
}

/// The host adapter of a SCSI disk.
struct Adapter<'a> {
    chain: &'a Chain<'a>,
    number: u32,
}

impl Adapter<'_> {
    /// The transport as far as an adapter decides it; `Some(None)`: it is decided that none is
    /// known.
    fn transport(&self) -> Option<Option<&'static str>> {
        if self.is_a("spi") {
            return Some(Some("spi"));
        }
        if self.is_a("fc") {
            let name = self.attribute("fc", "symbolic_name");
            return Some(name.map(|name| {
                if name.contains(" over ") {
                    "fcoe"
                } else {
                    "fc"
                }
            }));
        }
        if self.is_a("sas") || self.device_has("sas_device") {
            return Some(Some("sas"));
        }
        if self.device_has("ieee1394_id") {
            return Some(Some("sbp"));
        }
        if self.is_a("iscsi") {
            return Some(Some("iscsi"));
        }
        if self.chain.path().to_string_lossy().contains("usb") {
            return Some(Some("usb"));
        }
        if self.is_a("scsi") {
            let driver = self.attribute("scsi", "proc_name");
            return Some(driver.and_then(|driver| {
                if driver.starts_with("ahci") || driver.starts_with("sata") {
                    Some("sata")
                } else {
                    driver.contains("ata").then_some("ata")
                }
            }));
        }
        None
    }

    /// The adapter's objects of a class: below its own directory, and linked in `/sys/class`.
    fn directories(&self, class: &str) -> impl Iterator<Item = String> {
        let (name, class) = (format!("host{}", self.number), format!("{class}_host"));
        let own = self
            .chain
            .members()
            .find(|path| name_of(path) == name && number_after(name_of(path), "host").is_some());
        let below = own.map(|path| format!("{}/{class}/{name}", path.display()));
        [Some(format!("/sys/class/{class}/{name}")), below]
            .into_iter()
            .flatten()
    }

    fn is_a(&self, class: &str) -> bool {
        let root = self.chain.root();
        self.directories(class)
            .any(|directory| root.path(directory).is_dir())
    }

    fn attribute(&self, class: &str, name: &str) -> Option<String> {
        self.directories(class)
            .find_map(|directory| self.chain.attribute_of(Path::new(&directory), name))
    }

    fn device_has(&self, name: &str) -> bool {
        let device = self.chain.path().join("device").join(name);
        self.chain.root().exists(device)
    }
}
