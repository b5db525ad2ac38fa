//! The names of disks in `/dev/disk/by-path`, by the rules of udev: its builtin `path_id` and
//! the file `60-persistent-storage.rules`.
//!
//! The walk goes from the disk up to the machine. Every bus adds what is fixed in it; the name
//! counts only if a bus that is plugged into the machine ends it and a bus that disks hang on
//! is among them. Newer rules are followed where udev's versions differ: a controller of NVMe
//! over fabrics has no place in the machine, and USB also has a name with its revision.

use std::path::{Path, PathBuf};

use super::scsi_address::ScsiAddress;
use crate::machine::topology::{Chain, name_of, number_after};

/// The links that udev makes, the one with the longest history first.
pub(super) fn links(chain: &Chain<'_>, kernel_name: &str) -> Vec<String> {
    if !is_named_by_path(chain, kernel_name) {
        return Vec::new();
    }
    let mut walk = DeviceWalk {
        chain,
        parts: Vec::new(),
        variant: None,
        is_plugged: false,
        has_transport: false,
    };
    if walk.run().is_none() || !walk.is_plugged || !walk.has_transport {
        return Vec::new();
    }
    let name = walk.name(None);
    let suffix = match kernel_name.split_once("boot") {
        Some((_, number)) if kernel_name.starts_with("mmcblk") => format!("-boot{number}"),
        _ => String::new(),
    };
    let names = match &walk.variant {
        Some(Variant::Before(part)) => vec![walk.name(Some(part)), name],
        Some(Variant::After(part)) => vec![name, walk.name(Some(part))],
        None if kernel_name.starts_with("vd") && name.starts_with("pci-") => {
            vec![format!("virtio-{name}"), name]
        }
        None => vec![name],
    };
    names
        .into_iter()
        .map(|name| format!("/dev/disk/by-path/{name}{suffix}"))
        .collect()
}

/// Whether udev's rules give disks of this kind links at all.
fn is_named_by_path(chain: &Chain<'_>, kernel_name: &str) -> bool {
    const DRIVERS: [&str; 16] = [
        "sd", "nvme", "vd", "mmcblk", "xvd", "dasd", "cciss", "pmem", "scm", "sr", "bcache",
        "msblk", "mspblk", "ubd", "ubi", "nbd",
    ];
    let is_virtual = chain
        .path()
        .components()
        .any(|part| part.as_os_str() == "virtual");
    let is_nvme_multipath = chain.nearest("nvme-subsystem", |_| true).is_some();
    DRIVERS.iter().any(|driver| kernel_name.starts_with(driver))
        && (!is_virtual || is_nvme_multipath)
}

/// Another form of one part, which makes a second link.
#[derive(Debug)]
enum Variant {
    /// The older form.
    Before(PathPart),
    /// The newer form.
    After(PathPart),
}

/// The form of the part at this place.
#[derive(Debug)]
struct PathPart {
    index: usize,
    text: String,
}

/// The walk from a disk to the machine.
#[derive(Debug)]
struct DeviceWalk<'a> {
    chain: &'a Chain<'a>,
    /// From the disk upwards.
    parts: Vec<String>,
    variant: Option<Variant>,
    /// A bus with fixed places in the machine was met.
    is_plugged: bool,
    /// A bus that block devices hang on was met.
    has_transport: bool,
}

impl DeviceWalk<'_> {
    /// The parts from the machine to the disk, one of them in another form.
    fn name(&self, other: Option<&PathPart>) -> String {
        let parts = self.parts.iter().enumerate().rev();
        let parts: Vec<&str> = parts
            .map(|(index, part)| match other {
                Some(other) if other.index == index => other.text.as_str(),
                _ => part,
            })
            .collect();
        parts.join("-")
    }

    /// `None`: a part of the way has no fixed name.
    fn run(&mut self) -> Option<()> {
        let mut device = Some(self.chain.path().to_owned());
        while let Some(current) = device {
            let last = match self.chain.subsystem(&current) {
                Some(subsystem) => self.step(&current, &subsystem)?,
                None => current,
            };
            device = self.chain.parent_device(&last);
        }
        (!self.parts.is_empty()).then_some(())
    }

    /// Adds the part of a device, and returns the last device that the part stands for.
    fn step(&mut self, device: &Path, subsystem: &str) -> Option<PathBuf> {
        match subsystem {
            "scsi" => {
                self.has_transport = true;
                self.scsi(device)
            }
            "nvme" | "nvme-subsystem" => self.nvme(device, subsystem),
            "usb" => {
                self.has_transport = true;
                Some(self.usb(device))
            }
            "virtio" => {
                self.has_transport = true;
                Some(self.chain.last_in_subsystem(device, subsystem))
            }
            "cciss" => {
                self.has_transport = true;
                let disk = number_after(name_of(device), "c").and_then(|_| {
                    let (_, disk) = name_of(device).split_once('d')?;
                    number_after(disk, "")
                })?;
                self.parts.push(format!("cciss-disk{disk}"));
                Some(self.chain.last_in_subsystem(device, subsystem))
            }
            "spi" => {
                let number = trailing_number(name_of(device));
                self.parts
                    .extend(number.map(|number| format!("cs-{number}")));
                Some(self.chain.last_in_subsystem(device, subsystem))
            }
            // These name their devices by place. PCI, ACPI and Xen carry all kinds of devices,
            // so disks need another bus below them.
            "pci" | "acpi" | "xen" => Some(self.bus_device(device, subsystem)),
            "platform" | "amba" | "scm" | "ccw" | "ccwgroup" | "iucv" => {
                self.has_transport = true;
                Some(self.bus_device(device, subsystem))
            }
            _ => Some(device.to_owned()),
        }
    }

    /// A bus whose devices are called by their place in it.
    fn bus_device(&mut self, device: &Path, subsystem: &str) -> PathBuf {
        self.parts.push(format!("{subsystem}-{}", name_of(device)));
        self.is_plugged = true;
        self.chain.last_in_subsystem(device, subsystem)
    }

    fn usb(&mut self, device: &Path) -> PathBuf {
        // Interfaces `2-1:1.0` and devices `2-1`, not the root hub `usb2`.
        let Some((_, port)) = name_of(device).split_once('-') else {
            return device.to_owned();
        };
        let hub = self.chain.last_in_subsystem(device, "usb");
        if let Some(revision) = self.usb_revision(&hub) {
            let index = self.parts.len();
            let text = format!("usbv{revision}-0:{port}");
            self.variant = Some(Variant::After(PathPart { index, text }));
        }
        self.parts.push(format!("usb-0:{port}"));
        hub
    }

    /// 1, 2 or 3, by a root hub's protocol and speed: one host controller may have a root hub
    /// for each.
    fn usb_revision(&self, hub: &Path) -> Option<u8> {
        let protocol = self.chain.attribute_of(hub, "bDeviceProtocol")?;
        match u8::from_str_radix(&protocol, 16).ok()? {
            0 => {
                let speed = self.chain.attribute_of(hub, "speed")?;
                Some(if speed == "480" { 2 } else { 1 })
            }
            1 | 2 => Some(2),
            3 => Some(3),
            _ => None,
        }
    }

    fn nvme(&mut self, device: &Path, subsystem: &str) -> Option<PathBuf> {
        let Some(namespace) = self.chain.attribute("nsid") else {
            return Some(device.to_owned());
        };
        self.parts.push(format!("nvme-{namespace}"));
        (self.is_plugged, self.has_transport) = (true, true);
        if subsystem == "nvme" {
            return Some(self.chain.last_in_subsystem(device, "nvme"));
        }
        // Of the paths to a namespace the one counts whose controller has its number.
        let disk = name_of(self.chain.path());
        let controller = format!("nvme{}", number_after(disk, "nvme")?);
        let root = self.chain.root();
        let controller = Chain::resolve(root, format!("/sys/class/nvme/{controller}"))
            .or_else(|| Chain::resolve(root, device.join(controller)))?;
        let is_virtual = controller.path().starts_with("/sys/devices/virtual");
        (!is_virtual).then(|| self.chain.last_in_subsystem(controller.path(), "nvme"))
    }

    /// A SCSI device, by its transport. Hosts and targets have no part of their own.
    fn scsi(&mut self, device: &Path) -> Option<PathBuf> {
        let Some(address) = ScsiAddress::parse(name_of(device)) else {
            return Some(device.to_owned());
        };
        if let Some(identifier) = self.chain.attribute_of(device, "ieee1394_id") {
            self.parts.push(format!("ieee1394-0x{identifier}"));
            self.is_plugged = true;
            return Some(self.chain.last_in_subsystem(device, "scsi"));
        }
        let path = device.to_string_lossy();
        let lun = lun(address.lun);
        let is_below = |name: &str| path.contains(&format!("/{name}"));
        let part = if is_below("rport-") {
            self.is_plugged = true;
            let target = self.scsi_parent("target")?;
            let port = self
                .chain
                .class_attribute(target, "fc_transport", "port_name")?;
            format!("fc-{port}-{lun}")
        } else if is_below("end_device-") {
            self.is_plugged = true;
            self.sas(&lun)?
        } else if is_below("session") {
            self.is_plugged = true;
            self.iscsi(device, &lun)?
        } else if is_below("ata") {
            self.ata(address)?
        } else if is_below("vmbus_") || is_below("VMBUS") {
            let length = if is_below("vmbus_") { 37 } else { 38 };
            format!("vmbus-{}-{lun}", self.hyperv_guid(length)?)
        } else {
            let host = self.scsi_parent("host")?.to_owned();
            let part = self.default(&host, address);
            self.parts.extend(part);
            return Some(host);
        };
        self.parts.push(part);
        Some(device.to_owned())
    }

    /// The `target` or `host` that the disk is below.
    fn scsi_parent(&self, prefix: &str) -> Option<&Path> {
        self.chain.members().find(|path| {
            number_after(name_of(path), prefix).is_some()
                && self.chain.subsystem(path).as_deref() == Some("scsi")
        })
    }

    /// A disk on a port of its own is called by the port's place, at the adapter or at an
    /// expander; one that is reached over several wires by its own address.
    fn sas(&self, lun: &str) -> Option<String> {
        let device = self.scsi_parent("target")?.parent()?;
        let of_device =
            |member: &Path, name| self.chain.class_attribute(member, "sas_device", name);
        let port = device.parent()?;
        let phys = self.chain.class_attribute(port, "sas_port", "num_phys")?;
        if phys != "1" {
            return Some(format!("sas-{}-{lun}", of_device(device, "sas_address")?));
        }
        let phy = of_device(device, "phy_identifier")?;
        let expander = port
            .parent()
            .and_then(|path| of_device(path, "sas_address"));
        Some(match expander {
            Some(address) => format!("sas-exp{address}-phy{phy}-{lun}"),
            None => format!("sas-phy{phy}-{lun}"),
        })
    }

    fn iscsi(&self, device: &Path, lun: &str) -> Option<String> {
        const PORT: &str = "3260";
        let mut parents = device.ancestors();
        let session = parents.find(|path| name_of(path).starts_with("session"))?;
        let number = trailing_number(name_of(session))?;
        let target = self
            .chain
            .class_attribute(session, "iscsi_session", "targetname")?;
        let connection = session.join(format!("connection{number}:0"));
        let of_connection = |name| {
            self.chain
                .class_attribute(&connection, "iscsi_connection", name)
        };
        let address = of_connection("persistent_address")?;
        // An adapter that does not tell the port uses the one that is registered.
        let port = of_connection("persistent_port").unwrap_or_else(|| PORT.to_owned());
        Some(format!("ip-{address}:{port}-iscsi-{target}-{lun}"))
    }

    /// Port multipliers are channels, masters and slaves targets. Before udev 247 all disks of
    /// a port had one name, which is kept as the older link.
    fn ata(&mut self, address: ScsiAddress) -> Option<String> {
        let port = self.scsi_parent("host")?.parent()?;
        let port = self.chain.class_attribute(port, "ata_port", "port_no")?;
        let (index, text) = (self.parts.len(), format!("ata-{port}"));
        self.variant = Some(Variant::Before(PathPart { index, text }));
        Some(match address {
            ScsiAddress {
                channel: 0, target, ..
            } => format!("ata-{port}.{target}"),
            ScsiAddress { channel, .. } => format!("ata-{port}.{channel}.0"),
        })
    }

    /// The digits of the GUID of Hyper-V's controller, which stands in braces.
    fn hyperv_guid(&self, length: usize) -> Option<String> {
        let controller = self.scsi_parent("host")?.parent()?;
        let guid = self.chain.attribute_of(controller, "device_id")?;
        let digits = guid.get(..length)?.strip_prefix('{')?.strip_suffix('}')?;
        Some(digits.replace('-', ""))
    }

    /// The host's number counts all adapters of the machine; what is fixed is its place among
    /// the hosts of its own controller.
    fn default(&self, host: &Path, address: ScsiAddress) -> Option<String> {
        let siblings = self.chain.root().names(host.parent()?);
        let numbers = siblings.iter().filter_map(|name| {
            let number = name.strip_prefix("host")?;
            number.parse::<u32>().ok()
        });
        let index = address.host.checked_sub(numbers.min()?)?;
        let ScsiAddress {
            channel,
            target,
            lun,
            ..
        } = address;
        Some(format!("scsi-{index}:{channel}:{target}:{lun}"))
    }
}

/// Numbers above 255 are in the form that they have on the wire.
fn lun(number: u64) -> String {
    if number < 256 {
        format!("lun-{number}")
    } else {
        format!(
            "lun-0x{:04x}{:04x}00000000",
            number & 0xffff,
            number >> 16 & 0xffff
        )
    }
}

/// The digits at the end of a name.
fn trailing_number(name: &str) -> Option<&str> {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.get(name.len() - digits..)
        .filter(|number| !number.is_empty())
}
