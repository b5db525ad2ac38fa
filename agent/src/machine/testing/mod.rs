//! A machine made of files, for tests: the parts of `/sys`, `/proc`, `/run/udev` and `/dev`
//! that the kernel of a real one shows, in the kernel's own layout with its links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::system::clock::ForeignClock;
use crate::system::ethernet::Frames;
use crate::system::ipmi::KernelController;
use crate::system::kernel_log::KernelLogDevice;
use crate::system::network::{Network, NetworkLink};
use crate::system::{Disk, DiskError, Disks, PathPrefix, Run, System, disk, process};

mod programs;

pub(crate) use programs::Programs;

/// Disks that are files below `/dev` of a machine made of files.
#[derive(Debug)]
struct FakeDisks(PathPrefix);

impl Disks for FakeDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        disk::LinuxDisks.open(&self.0.path(name))
    }

    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        self.open(name)
    }
}

/// A machine made of files.
#[derive(Debug)]
pub(crate) struct FakeMachine {
    directory: tempfile::TempDir,
    links: Arc<Mutex<Vec<NetworkLink>>>,
}

/// Network interfaces as they are given.
#[derive(Debug)]
struct FakeNetwork(Arc<Mutex<Vec<NetworkLink>>>);

impl Network for FakeNetwork {
    fn links(&self) -> std::io::Result<Vec<NetworkLink>> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn highest_speed(&self, name: &str) -> Option<u32> {
        (name == "eth0").then_some(100_000)
    }

    fn lldp_frames(&self, interfaces: &[NetworkLink], _timeout: Duration) -> Frames {
        // A switch tells each but one its number; that one cannot be listened to.
        let hear = |link: &NetworkLink| {
            let frame = [&[0; 14][..], &[2, 1, u8::try_from(link.index).unwrap()]].concat();
            let heard = match link.name.as_str() {
                "deaf" => Err(std::io::ErrorKind::PermissionDenied.into()),
                "silent" => Ok(None),
                _ => Ok(Some(frame)),
            };
            (link.name.clone(), heard)
        };
        interfaces.iter().map(hear).collect()
    }
}

impl FakeMachine {
    /// A machine without any hardware, on which nothing is mounted.
    pub(crate) fn new() -> Self {
        let mut machine = Self {
            directory: tempfile::tempdir().unwrap(),
            links: Arc::default(),
        };
        machine.file("proc/self/mounts", "");
        machine
    }

    /// The directory that stands for `/`.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The machine as the agent sees it, on which no program can run.
    pub(crate) fn system(&self) -> System {
        self.system_with(Arc::new(process::Script::new()))
    }

    /// The machine with scripted programs.
    pub(crate) fn system_with(&self, run: Arc<dyn Run>) -> System {
        System {
            run,
            root: PathPrefix::new(self.path()),
            disks: Arc::new(FakeDisks(PathPrefix::new(self.path()))),
            network: Arc::new(FakeNetwork(Arc::clone(&self.links))),
            controller: Arc::new(KernelController::new(PathPrefix::new(self.path()))),
            clock: Arc::new(ForeignClock),
            kernel_log: Arc::new(KernelLogDevice(PathPrefix::new(self.path()))),
            ..System::linux()
        }
    }

    /// A file with this text. The kernel ends its texts with a line break.
    pub(crate) fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.bytes(path, format!("{text}\n").as_bytes())
    }

    /// A file with these bytes.
    pub(crate) fn bytes(&mut self, path: &str, bytes: &[u8]) -> &mut Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// An empty directory.
    pub(crate) fn directory(&mut self, path: &str) -> &mut Self {
        fs::create_dir_all(self.path().join(path)).unwrap();
        self
    }

    /// A link whose target is below the machine's `/`.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let link = self.path().join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let up = "../".repeat(path.matches('/').count());
        symlink(format!("{up}{target}"), link).unwrap();
        self
    }

    /// A directory below `/sys/devices` that belongs to a subsystem.
    pub(crate) fn bus_device(&mut self, path: &str, subsystem: &str) -> &mut Self {
        let full = format!("sys/devices/{path}");
        let name = path.rsplit('/').next().unwrap();
        let kind = match subsystem {
            "scsi" if name.starts_with("host") => "DEVTYPE=scsi_host",
            "scsi" if name.starts_with("target") => "DEVTYPE=scsi_target",
            "scsi" => "DEVTYPE=scsi_device",
            "usb" if name.contains(':') => "DEVTYPE=usb_interface",
            "usb" => "DEVTYPE=usb_device",
            _ => "",
        };
        self.directory(&full)
            .file(&format!("{full}/uevent"), kind)
            .directory(&format!("sys/bus/{subsystem}"))
            .link_once(
                &format!("{full}/subsystem"),
                &format!("sys/bus/{subsystem}"),
            );
        if subsystem == "scsi" {
            self.link_once(&format!("sys/bus/scsi/devices/{name}"), &full);
        }
        // The bridge to the first bus is a device of no subsystem.
        if let Some((bridge, _)) = path.split_once('/').filter(|_| path.starts_with("pci")) {
            self.file(&format!("sys/devices/{bridge}/uevent"), "");
        }
        self
    }

    /// The object of a class that describes a device: its directory below the device, and its
    /// link in `/sys/class`.
    pub(crate) fn class_object(&mut self, device: &str, class: &str) -> String {
        let name = device.rsplit('/').next().unwrap();
        let object = format!("sys/devices/{device}/{class}/{name}");
        let device_file = format!("sys/devices/{device}/uevent");
        if !self.path().join(&device_file).exists() {
            self.file(&device_file, "");
        }
        self.file(&format!("{object}/uevent"), "")
            .link_once(&format!("sys/class/{class}/{name}"), &object)
            .link_once(
                &format!("{object}/subsystem"),
                &format!("sys/class/{class}"),
            );
        object
    }

    fn link_once(&mut self, path: &str, target: &str) -> &mut Self {
        if !self.path().join(path).is_symlink() {
            self.link(path, target);
        }
        self
    }

    /// A block device whose bus device is `parent` (below `/sys/devices`).
    pub(crate) fn block(&mut self, parent: &str, name: &str, number: &str, size: u64) -> String {
        let path = format!("sys/devices/{parent}/block/{name}");
        self.block_object(&path, name, number)
            .file(&format!("{path}/dev"), number)
            .file(&format!("{path}/size"), &(size / 512).to_string())
            .file(&format!("{path}/ro"), "0")
            .file(&format!("{path}/hidden"), "0")
            .file(&format!("{path}/queue/rotational"), "0")
            .file(&format!("{path}/queue/logical_block_size"), "512")
            .file(&format!("{path}/queue/physical_block_size"), "512")
            .directory(&format!("{path}/holders"))
            .directory(&format!("{path}/slaves"))
            .link(&format!("{path}/subsystem"), "sys/class/block")
            .link(&format!("sys/class/block/{name}"), &path);
        if !parent.starts_with("virtual") {
            self.link(&format!("{path}/device"), &format!("sys/devices/{parent}"));
        }
        path
    }

    /// What makes a directory a whole disk to udev and `lsblk`.
    fn block_object(&mut self, path: &str, name: &str, number: &str) -> &mut Self {
        let (major, minor) = number.split_once(':').unwrap();
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=disk");
        self.file(&format!("{path}/uevent"), &uevent)
            .link_once(&format!("sys/dev/block/{number}"), path)
            .link_once(&format!("sys/block/{name}"), path)
    }

    /// A virtio disk at PCI function `0000:00:03.0`, as QEMU's and Firecracker's are.
    pub(crate) fn virtio_disk(&mut self, name: &str, size: u64, serial: &str) -> String {
        let pci = "pci0000:00/0000:00:03.0";
        self.bus_device("pci0000:00/0000:00:03.0", "pci")
            .bus_device(&format!("{pci}/virtio0"), "virtio")
            .file(&format!("sys/devices/{pci}/virtio0/vendor"), "0x1af4")
            .file(&format!("sys/devices/{pci}/virtio0/device"), "0x0002");
        let path = self.block(&format!("{pci}/virtio0"), name, "254:0", size);
        self.bytes(&format!("{path}/serial"), serial.as_bytes())
            .file(&format!("{path}/queue/rotational"), "1");
        path
    }

    /// An NVMe namespace.
    pub(crate) fn nvme_disk(&mut self, name: &str, size: u64, serial: &str, wwid: &str) -> String {
        let controller = name.split('n').nth(1).unwrap();
        let pci = "pci0000:00/0000:00:04.0";
        let nvme = format!("{pci}/nvme/nvme{controller}");
        self.bus_device(pci, "pci").nvme_controller(&nvme, serial);
        self.nvme_namespace(&nvme, name, "259:0", size, wwid)
    }

    /// An NVMe controller, or a subsystem of controllers, at this path below `/sys/devices`.
    pub(crate) fn nvme_controller(&mut self, path: &str, serial: &str) -> &mut Self {
        let name = path.rsplit('/').next().unwrap();
        let class = match name.starts_with("nvme-subsys") {
            true => "nvme-subsystem",
            false => "nvme",
        };
        let full = format!("sys/devices/{path}");
        // The kernel pads with blanks what the device pads with blanks.
        self.file(&format!("{full}/uevent"), "")
            .link_once(&format!("{full}/subsystem"), &format!("sys/class/{class}"))
            .link_once(&format!("sys/class/{class}/{name}"), &full)
            .file(
                &format!("{full}/model"),
                &format!("{:40}", "QEMU NVMe Ctrl"),
            )
            .file(&format!("{full}/serial"), &format!("{serial:20}"))
    }

    /// A namespace of a controller or a subsystem.
    pub(crate) fn nvme_namespace(
        &mut self,
        controller: &str,
        name: &str,
        number: &str,
        size: u64,
        wwid: &str,
    ) -> String {
        let path = format!("sys/devices/{controller}/{name}");
        self.block_object(&path, name, number)
            .file(&format!("{path}/dev"), number)
            .file(&format!("{path}/size"), &(size / 512).to_string())
            .file(&format!("{path}/ro"), "0")
            .file(&format!("{path}/hidden"), "0")
            .file(&format!("{path}/nsid"), name.rsplit('n').next().unwrap())
            .file(&format!("{path}/wwid"), wwid)
            .file(&format!("{path}/queue/rotational"), "0")
            .file(&format!("{path}/queue/logical_block_size"), "512")
            .file(&format!("{path}/queue/physical_block_size"), "4096")
            .directory(&format!("{path}/holders"))
            .directory(&format!("{path}/slaves"))
            .link(&format!("{path}/subsystem"), "sys/class/block")
            .link(
                &format!("{path}/device"),
                &format!("sys/devices/{controller}"),
            )
            .link(&format!("sys/class/block/{name}"), &path);
        path
    }

    /// A SCSI disk behind `hba` (below `/sys/devices`), the host's number and the path
    /// between host and target, for example `/port-2:0/end_device-2:0` for SAS.
    pub(crate) fn scsi_disk(
        &mut self,
        hba: &str,
        host: u32,
        between: &str,
        name: &str,
        size: u64,
    ) -> String {
        let host_path = format!("{hba}/host{host}");
        let minor = u32::from(name.as_bytes()[2] - b'a') * 16;
        let number = format!("8:{minor}");
        self.scsi_host(&host_path, between);
        let target = format!("{host_path}{between}");
        self.scsi_unit(&target, &format!("{host}:0:0:0"), name, &number, size)
    }

    /// The host adapter of SCSI disks, with the class of the transport that the path between
    /// it and its targets tells.
    pub(crate) fn scsi_host(&mut self, host: &str, between: &str) -> &mut Self {
        self.bus_device(host, "scsi")
            .class_object(host, "scsi_host");
        let transports = [
            ("end_device-", "sas_host"),
            ("rport-", "fc_host"),
            ("session", "iscsi_host"),
        ];
        for (_, class) in transports.iter().filter(|(part, _)| between.contains(part)) {
            let object = self.class_object(host, class);
            if *class == "fc_host" {
                self.file(
                    &format!("{object}/symbolic_name"),
                    "QLE2692 FW:v9.08.02 DVR:v10.02",
                );
            }
        }
        self
    }

    /// A disk that is a logical unit of a target in the directory `parent`.
    pub(crate) fn scsi_unit(
        &mut self,
        parent: &str,
        address: &str,
        name: &str,
        number: &str,
        size: u64,
    ) -> String {
        let (of_target, _) = address.rsplit_once(':').unwrap();
        let target = format!("{parent}/target{of_target}");
        let device = format!("{target}/{address}");
        self.bus_device(&target, "scsi").bus_device(&device, "scsi");
        self.file(&format!("sys/devices/{device}/type"), "0")
            .file(&format!("sys/devices/{device}/rev"), "A1B2")
            .file(&format!("sys/devices/{device}/vendor"), "SEAGATE ")
            .file(&format!("sys/devices/{device}/model"), "ST4000NM0023    ");
        self.class_object(&device, "scsi_device");
        let path = self.block(&device, name, number, size);
        self.file(&format!("{path}/queue/rotational"), "1");
        path
    }

    /// A SATA disk at port `port` of an AHCI controller.
    pub(crate) fn sata_disk(&mut self, name: &str, size: u64, port: u32) -> String {
        let pci = "pci0000:00/0000:00:1f.2";
        let ata = format!("{pci}/ata{port}");
        self.bus_device(pci, "pci");
        let object = self.class_object(&ata, "ata_port");
        self.file(&format!("{object}/port_no"), &port.to_string());
        let host = port - 1;
        let path = self.scsi_disk(&ata, host, "", name, size);
        let device = format!("sys/devices/{ata}/host{host}/target{host}:0:0/{host}:0:0:0");
        self.file(
            &format!("sys/devices/{ata}/host{host}/scsi_host/host{host}/proc_name"),
            "ahci",
        )
        .file(&format!("{device}/vendor"), "ATA     ")
        .file(&format!("{device}/model"), "Samsung SSD 860 ")
        .file(&format!("{device}/wwid"), "naa.5002538e40a1b2c3")
        .file(&format!("{path}/queue/rotational"), "0");
        path
    }

    /// A USB stick.
    pub(crate) fn usb_disk(&mut self, name: &str, size: u64, serial: &str) -> String {
        let pci = "pci0000:00/0000:00:14.0";
        let usb = format!("{pci}/usb2/2-1");
        self.bus_device(pci, "pci")
            .bus_device(&format!("{pci}/usb2"), "usb")
            .bus_device(&usb, "usb")
            .bus_device(&format!("{usb}/2-1:1.0"), "usb")
            .file(&format!("sys/devices/{usb}/serial"), serial)
            .file(&format!("sys/devices/{usb}/idVendor"), "0781");
        self.scsi_disk(&format!("{usb}/2-1:1.0"), 6, "", name, size)
    }

    /// A partition of a block device that was added before.
    pub(crate) fn partition(&mut self, disk: &str, name: &str, number: &str, size: u64) {
        let path = format!("{disk}/{name}");
        let digits = name.trim_start_matches(disk.rsplit('/').next().unwrap());
        self.file(&format!("{path}/dev"), number)
            .file(&format!("{path}/size"), &(size / 512).to_string())
            .file(&format!("{path}/ro"), "0")
            .file(&format!("{path}/partition"), digits.trim_start_matches('p'))
            .directory(&format!("{path}/holders"))
            .link(&format!("{path}/subsystem"), "sys/class/block")
            .link(&format!("sys/class/block/{name}"), &path);
    }

    /// A software RAID array over block devices that were added before (their `/sys` paths).
    pub(crate) fn array(&mut self, name: &str, level: &str, size: u64, members: &[&str]) -> String {
        let minor = name.trim_start_matches("md");
        let path = self.block("virtual", name, &format!("9:{minor}"), size);
        self.file(&format!("{path}/md/level"), level);
        for member in members {
            let kname = member.rsplit('/').next().unwrap();
            self.link(&format!("{path}/slaves/{kname}"), member)
                .link(&format!("{member}/holders/{name}"), &path);
        }
        path
    }

    /// A block device that is not a disk: `loop0`, `sr0`, `dm-0`.
    pub(crate) fn virtual_block(&mut self, name: &str, number: &str, size: u64) -> String {
        self.block("virtual", name, number, size)
    }

    /// A map of the device mapper over block devices that were added before (their `/sys` paths).
    pub(crate) fn map(&mut self, name: &str, size: u64, identity: &str, below: &[&str]) -> String {
        let minor = name.trim_start_matches("dm-");
        let path = self.block("virtual", name, &format!("253:{minor}"), size);
        self.file(&format!("{path}/dm/uuid"), identity);
        for lower in below {
            let kname = lower.rsplit('/').next().unwrap();
            self.link(&format!("{path}/slaves/{kname}"), lower)
                .link(&format!("{lower}/holders/{name}"), &path);
        }
        path
    }

    /// The udev database's properties of a block device.
    pub(crate) fn udev(&mut self, number: &str, properties: &[(&str, &str)]) {
        let lines: String = properties
            .iter()
            .map(|(key, value)| format!("E:{key}={value}\n"))
            .collect();
        let text = format!("S:disk/by-id/x\nI:12345\n{lines}G:systemd\n");
        self.bytes(&format!("run/udev/data/b{number}"), text.as_bytes());
    }

    /// A network interface, behind a PCI function unless it is virtual.
    pub(crate) fn interface(&mut self, link: NetworkLink, pci: Option<&str>) -> String {
        let name = link.name.clone();
        let path = match pci {
            Some(pci) => {
                let parent = format!("pci0000:00/{pci}");
                self.bus_device(&parent, "pci")
                    .file(&format!("sys/devices/{parent}/vendor"), "0x8086")
                    .file(&format!("sys/devices/{parent}/device"), "0x10d3")
                    .directory("sys/bus/pci/drivers/e1000e")
                    .link(
                        &format!("sys/devices/{parent}/driver"),
                        "sys/bus/pci/drivers/e1000e",
                    );
                let path = format!("sys/devices/{parent}/net/{name}");
                self.link(&format!("{path}/device"), &format!("sys/devices/{parent}"));
                path
            }
            None => format!("sys/devices/virtual/net/{name}"),
        };
        let address: Vec<String> = link.address.iter().map(|b| format!("{b:02x}")).collect();
        self.file(&format!("{path}/address"), &address.join(":"))
            .link(&format!("sys/class/net/{name}"), &path);
        self.links.lock().unwrap().push(link);
        path
    }

    /// An interface of this machine gets an IP address.
    pub(crate) fn assign(&self, interface: &str, address: &str) {
        let mut links = self.links.lock().unwrap();
        let link = links
            .iter_mut()
            .find(|link| link.name == interface)
            .unwrap();
        link.ip_addresses.push(address.parse().unwrap());
    }
}
