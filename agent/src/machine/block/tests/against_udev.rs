//! udev's own rules and programs, and `lsblk`, over machines made of files: what they call
//! the disks is what we call them, with and without udev's database.
#![allow(
    clippy::disallowed_methods,
    reason = "the programs that are the truth are run beside the code, not by it"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::machine::block::scsi::tests::identify;
use crate::machine::block::udev::Properties;
use crate::machine::testing::{FakeMachine, Programs};

const SIZE: u64 = 8 * GIB;

/// Answers of a SCSI disk. Empty parts are commands that it does not know.
#[derive(Debug, Default, Clone)]
struct Answers {
    vendor: Vec<u8>,
    model: Vec<u8>,
    page_80: Vec<u8>,
    page_83: Vec<u8>,
    identify: Vec<u8>,
}

impl Answers {
    /// The file that plays the disk; the layout is that of `scsi_answers.c`.
    fn file(&self) -> Vec<u8> {
        let mut file = vec![0; 1792];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        // A direct-access device of SPC-3 with 31 more bytes.
        put(0, &[0, 0, 5, 2, 31, 0, 0, 0]);
        put(8, &self.vendor);
        put(16, &self.model);
        put(32, b"A1B2");
        let pages = [(0x80, &self.page_80), (0x83, &self.page_83)];
        let known = pages
            .iter()
            .filter(|(_, page)| !page.is_empty())
            .map(|(code, _)| *code);
        let known: Vec<u8> = [0].into_iter().chain(known).collect();
        put(256, &[0, 0, 0, u8::try_from(known.len()).unwrap()]);
        put(260, &known);
        put(512, &self.page_80);
        put(768, &self.page_83);
        put(1280, &self.identify);
        file
    }
}

fn page(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[0, code], &length[..], body].concat()
}

fn descriptor(code_set: u8, kind: u8, identifier: &[u8]) -> Vec<u8> {
    let length = u8::try_from(identifier.len()).unwrap();
    [&[code_set, kind, 0, length], identifier].concat()
}

/// Forms of pages 80h and 83h; `seed` makes them differ from disk to disk.
fn answers(seed: u32) -> Answers {
    let [_, high, middle, low] = seed.to_be_bytes();
    let naa = [0x50, 0, 0xc5, 0, 0xa1, high, middle, low];
    let extended = [&[0x60, 0x05, 0x08, 0xb1, 0, 0x1c, 0x5d, 0x3e][..], &naa].concat();
    let port = descriptor(1, 0x93, &[0x50, 0, 0xc5, 0, 0xff, high, middle, low]);
    let group = descriptor(1, 0x15, &[0, 0, 0, 1]);
    let bodies: [Vec<u8>; 12] = [
        descriptor(1, 3, &naa),
        [port.clone(), group.clone(), descriptor(1, 3, &extended)].concat(),
        [descriptor(1, 3, &naa), descriptor(1, 3, &extended)].concat(),
        [descriptor(1, 2, &naa), port].concat(),
        [
            descriptor(
                2,
                1,
                format!("ATA     Disk {seed}  with  blanks ").as_bytes(),
            ),
            group,
        ]
        .concat(),
        [descriptor(2, 1, b"VENDOR  T10"), descriptor(1, 3, &naa)].concat(),
        descriptor(2, 0, format!("chosen {seed}/x").as_bytes()),
        descriptor(1, 0, &naa),
        descriptor(1, 3, &[0x20, 1, 2, high, middle, low, 7, 8]),
        // By SCSI-2: one bare name, whose third byte is not zero.
        extended.clone(),
        // Of its port only.
        descriptor(1, 0x93, &naa),
        Vec::new(),
    ];
    let serials: [String; 6] = [
        format!("Z1D{seed:05}"),
        format!("  S{seed:04}   "),
        format!("A{seed} B  C"),
        String::new(),
        format!("x/{seed}+é"),
        format!("{seed:20}"),
    ];
    let models = [
        "ST4000NM0023",
        "LOGICAL  VOLUME",
        "Disk/with*signs",
        "MG04ACA4 00N  A",
    ];
    let place = usize::try_from(seed).unwrap();
    let body = &bodies[place % bodies.len()];
    let serial = &serials[place % serials.len()];
    Answers {
        vendor: format!("{:8}", ["SEAGATE", "HPE", "DELL", "A B  C"][place % 4]).into_bytes(),
        model: format!("{:16}", models[place / 3 % models.len()]).into_bytes(),
        page_80: if serial.is_empty() {
            Vec::new()
        } else {
            page(0x80, serial.as_bytes())
        },
        page_83: if body.is_empty() {
            Vec::new()
        } else {
            page(0x83, body)
        },
        identify: Vec::new(),
    }
}

/// A machine to which disks of all kinds are added, each with a name and a number of its own.
struct Workshop {
    machine: FakeMachine,
    hosts: u32,
    disks: Vec<String>,
}

impl Workshop {
    fn new() -> Self {
        Self {
            machine: FakeMachine::new(),
            hosts: 0,
            disks: Vec::new(),
        }
    }

    /// The next number of a host adapter.
    fn host(&mut self) -> u32 {
        self.hosts += 1;
        self.hosts
    }

    /// `sda`, `sdb`, ..., `sdaa`, and the number of each.
    fn next(&self) -> (String, String) {
        let place = self.disks.len();
        let letter = |at: usize| char::from(b'a' + u8::try_from(at).unwrap());
        let name = match place {
            ..26 => format!("sd{}", letter(place)),
            _ => format!("sd{}{}", letter(place / 26 - 1), letter(place % 26)),
        };
        // Each with a major number of its own, which no two may share.
        (name, format!("{}:{}", 200 + place / 16, place % 16 * 16))
    }

    /// Gives a SCSI disk its answers, as the kernel keeps them and as it would give them.
    fn answer(&mut self, device: &str, name: &str, answers: &Answers) {
        let device = format!("sys/devices/{device}");
        let line = |text: &[u8]| [text, b"\n"].concat();
        self.machine
            .bytes(&format!("{device}/vendor"), &line(&answers.vendor))
            .bytes(&format!("{device}/model"), &line(&answers.model))
            .bytes(&format!("dev/{name}"), &answers.file());
        let ata = [&[0; 60][..], &answers.identify].concat();
        for (file, page, is_there) in [
            ("vpd_pg80", &answers.page_80, !answers.page_80.is_empty()),
            ("vpd_pg83", &answers.page_83, !answers.page_83.is_empty()),
            ("vpd_pg89", &ata, !answers.identify.is_empty()),
        ] {
            if is_there {
                self.machine.bytes(&format!("{device}/{file}"), page);
            }
        }
    }

    /// A logical unit below `parent` (below `/sys/devices`), a directory of the host with this
    /// number.
    fn unit(&mut self, parent: &str, address: &str, answers: &Answers) -> String {
        let (name, number) = self.next();
        self.machine
            .scsi_unit(parent, address, &name, &number, SIZE);
        let (target, _) = address.rsplit_once(':').unwrap();
        let device = format!("{parent}/target{target}/{address}");
        self.answer(&device, &name, answers);
        self.disks.push(name);
        device
    }

    /// A PCI function, with the bridges above it.
    fn pci(&mut self, path: &str) -> &str {
        let parts: Vec<&str> = path.split('/').collect();
        for end in 2..=parts.len() {
            if !parts[end - 1].starts_with("pci") {
                self.machine.bus_device(&parts[..end].join("/"), "pci");
            } else {
                let bridge = format!("sys/devices/{}/uevent", parts[..end].join("/"));
                self.machine.file(&bridge, "");
            }
        }
        "pci"
    }

    fn block(&mut self, parent: &str, name: &str, number: &str) -> String {
        self.disks.push(name.to_owned());
        self.machine.block(parent, name, number, SIZE)
    }

    /// Runs udev's rules for every disk, and answers what `lsblk` then prints for each.
    fn run_udev(&mut self, programs: &Programs) -> BTreeMap<String, Value> {
        let root = self.machine.path().to_owned();
        self.machine
            .directory("run/udev/data")
            .file("etc/ld.so.preload", "/scsi_answers.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/machine/block/tests");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(root.join("scsi_answers.so"))
            .arg(source.join("scsi_answers.c"))
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success(), "cc");
        let mut script = String::new();
        for disk in &self.disks {
            let _ = writeln!(
                script,
                "inside udevadm test --action=add '/sys/class/block/{disk}' >\"$MACHINE/tmp/log\" 2>&1 \
                 || {{ cat \"$MACHINE/tmp/log\" >&2; exit 1; }}"
            );
        }
        script.push_str(
            "inside lsblk --json --bytes --all --nodeps --output \
            KNAME,MODEL,SERIAL,WWN,TRAN,VENDOR,HCTL,SIZE,LOG-SEC,PHY-SEC\n",
        );
        let printed = programs.run_inside(&mut self.machine, &script);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let disks = printed["blockdevices"].as_array().unwrap().iter();
        disks
            .map(|disk| (disk["kname"].as_str().unwrap().to_owned(), disk.clone()))
            .collect()
    }

    /// Compares all disks with udev and `lsblk`; the number of links that were compared.
    fn compare(mut self, programs: &Programs) -> usize {
        let without = probe(&self.machine.system());
        assert_eq!(without.len(), self.disks.len());
        let printed = self.run_udev(programs);
        let with = probe(&self.machine.system());
        let links = sysfs::by_path_links(&self.machine.system().root);
        let mut compared = 0;
        let mut wrong = Vec::new();
        let of_both = without.iter().map(|disk| (disk, "without"));
        let of_both = of_both.chain(with.iter().map(|disk| (disk, "with")));
        for (disk, database) in of_both {
            let name = disk.name.strip_prefix("/dev/").unwrap();
            let expected = &printed[name];
            let text = |key: &str| {
                let text = expected[key].as_str().map(str::trim);
                text.filter(|text| !text.is_empty())
            };
            let mut check = |what: &str, ours: Option<&str>, expected: Option<&str>| {
                if ours != expected {
                    let path = self.machine.path().join("sys/class/block").join(name);
                    let path = std::fs::canonicalize(path).unwrap();
                    wrong.push(format!(
                        "{what} {database} udev's database: {ours:?}, expected {expected:?}: {}",
                        path.display()
                    ));
                }
            };
            // `lsblk` knows these two since 2.39.
            let is_new = ["virtio", "mmc"].map(Some).contains(&disk.tran.as_deref());
            if !(is_new && text("tran").is_none()) {
                check("tran", disk.tran.as_deref(), text("tran"));
            }
            check("hctl", disk.hctl.as_deref(), text("hctl"));
            check("vendor", disk.vendor.as_deref(), text("vendor"));
            check("serial", disk.serial.as_deref(), text("serial"));
            // Where `lsblk` knows none we tell what the kernel knows.
            if let Some(model) = text("model") {
                check("model", Some(&disk.model), Some(model));
            }
            if let Some(wwn) = text("wwn") {
                check("wwn", disk.wwn.as_deref(), Some(wwn));
            }
            let sorted = |links: Vec<&String>| {
                let sorted: std::collections::BTreeSet<_> = links.into_iter().cloned().collect();
                sorted.into_iter().collect::<Vec<_>>().join(" ")
            };
            let own = sorted(disk.by_path.iter().chain(&disk.other_paths).collect());
            let udevs = sorted(links.get(&disk.name).into_iter().flatten().collect());
            check("links", Some(&own), Some(&udevs));
            compared += udevs.split_whitespace().count();
            let number = self.number(name);
            let properties = Properties::of_block(&self.machine.system().root, &number);
            for key in ["ID_SERIAL", "ID_SERIAL_SHORT", "ID_SCSI_SERIAL"] {
                if let Some(serial) = properties.first(&[key]) {
                    let serial = serial.split_whitespace().collect::<Vec<_>>().join(" ");
                    let known = disk.serial.iter().chain(&disk.other_serials);
                    let found = known.clone().find(|known| **known == serial);
                    let known = known.cloned().collect::<Vec<_>>().join("|");
                    let ours = found.map_or(known.as_str(), String::as_str);
                    check(key, Some(ours), Some(&serial));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        compared
    }

    fn number(&self, name: &str) -> String {
        let root = self.machine.system().root;
        root.read(format!("/sys/class/block/{name}/dev")).unwrap()
    }
}

const LUNS: [u32; 8] = [0, 1, 255, 256, 300, 16384, 65535, 0x0123_4567];

#[test]
fn ata_disks_are_called_as_udev_calls_them() {
    let Some(programs) = Programs::find("ata_disks_are_called_as_udev_calls_them") else {
        return;
    };
    let mut workshop = Workshop::new();
    let mut seed = 1_u32;
    let controllers = [
        "pci0000:00/0000:00:17.0",
        "pci0000:00/0000:00:1c.4/0000:02:00.0",
        "pci0000:e0/0000:e0:01.1/0000:e1:00.0/0000:e2:00.0",
    ];
    for (place, controller) in controllers.iter().enumerate() {
        workshop.pci(controller);
        // Master and slave, and disks behind a port multiplier.
        for (port, (channel, target)) in [(0, 0), (0, 1), (1, 0), (4, 0)].into_iter().enumerate() {
            let port = port + 1;
            let host = workshop.host();
            let ata = format!("{controller}/ata{}", place * 10 + port);
            let object = workshop.machine.class_object(&ata, "ata_port");
            let host_path = format!("{ata}/host{host}");
            workshop
                .machine
                .scsi_host(&host_path, "")
                .file(&format!("{object}/port_no"), &port.to_string());
            let driver = ["ahci", "sata_nv", "ata_piix", "pata_via"][port - 1];
            let class = format!("sys/devices/{host_path}/scsi_host/host{host}/proc_name");
            workshop.machine.file(&class, driver);
            let model = [
                "Samsung SSD 860 EVO 1TB",
                "Hitachi  HDS722020",
                "ST/1000*DM003",
                "WDC",
            ][port - 1];
            let identify = identify(
                model,
                &format!(" S3Z{seed:05}"),
                0x5000_c500_a100_0000 + u64::from(seed),
            );
            let of_disk = Answers {
                vendor: b"ATA     ".to_vec(),
                model: format!("{:16.16}", model).into_bytes(),
                page_80: page(0x80, format!(" S3Z{seed:05}").as_bytes()),
                page_83: page(
                    0x83,
                    &descriptor(
                        1,
                        3,
                        &(0x5000_c500_a100_0000 + u64::from(seed)).to_be_bytes(),
                    ),
                ),
                identify,
            };
            workshop.unit(
                &host_path,
                &format!("{host}:{channel}:{target}:0"),
                &of_disk,
            );
            seed += 1;
        }
    }
    assert!(workshop.compare(&programs) >= 2 * 2 * 12);
}

#[test]
fn disks_of_storage_networks_are_called_as_udev_calls_them() {
    let Some(programs) = Programs::find("disks_of_storage_networks_are_called_as_udev_calls_them")
    else {
        return;
    };
    let mut workshop = Workshop::new();
    let mut seed = 100;
    let pci = "pci0000:40/0000:40:03.1/0000:41:00.0";
    workshop.pci(pci);
    // SAS: at the adapter, at an expander, at an expander behind another; narrow and wide.
    for (level, phys) in [(0, "1"), (0, "4"), (1, "1"), (1, "4"), (2, "1")] {
        let host = workshop.host();
        let host_path = format!("{pci}/host{host}");
        let mut parent = host_path.clone();
        for expander in 0..level {
            parent = format!("{parent}/port-{host}:{expander}/expander-{host}:{expander}");
            let object = workshop.machine.class_object(&parent, "sas_device");
            workshop.machine.file(
                &format!("{object}/sas_address"),
                &format!("0x500304800{expander}7f00{host:02}"),
            );
        }
        let port = format!("{parent}/port-{host}:{level}:3");
        let end = format!("{port}/end_device-{host}:{level}:3");
        let object = workshop.machine.class_object(&port, "sas_port");
        workshop.machine.file(&format!("{object}/num_phys"), phys);
        let object = workshop.machine.class_object(&end, "sas_device");
        workshop
            .machine
            .file(&format!("{object}/phy_identifier"), "7")
            .file(
                &format!("{object}/sas_address"),
                &format!("0x5000c500a1b2c3{host:02}"),
            );
        workshop.machine.scsi_host(&host_path, "/end_device-");
        for lun in LUNS.into_iter().step_by(3) {
            workshop.unit(&end, &format!("{host}:0:{level}:{lun}"), &answers(seed));
            seed += 1;
        }
    }
    // FC and FCoE, the adapter at PCI or a channel of an IBM Z.
    for (adapter, symbol) in [
        (pci, "QLE2692 FW:v9.08.02 DVR:v10.02"),
        (
            "pci0000:40/0000:40:03.1/0000:41:00.0/net/eth4/ctlr_0",
            "fcoe v0.1 over eth4",
        ),
        ("css0/0.0.0003/0.0.1900", "IBM FCP"),
    ] {
        if adapter.starts_with("css0") {
            workshop
                .machine
                .bus_device("css0/0.0.0003", "css")
                .bus_device(adapter, "ccw");
        }
        let host = workshop.host();
        let host_path = format!("{adapter}/host{host}");
        let class = format!("sys/devices/{host_path}/fc_host/host{host}/symbolic_name");
        workshop
            .machine
            .scsi_host(&host_path, "/rport-")
            .file(&class, symbol);
        let port = format!("{host_path}/rport-{host}:0-2");
        for lun in LUNS {
            workshop.unit(&port, &format!("{host}:0:2:{lun}"), &answers(seed));
            seed += 1;
        }
        let object = workshop
            .machine
            .class_object(&format!("{port}/target{host}:0:2"), "fc_transport");
        workshop.machine.file(
            &format!("{object}/port_name"),
            &format!("0x50060e80123456{host:02}"),
        );
    }
    // iSCSI in software and on an adapter.
    for (adapter, address) in [("platform", "10.0.0.5"), (pci, "fd00::5")] {
        let (host, session) = (workshop.host(), seed);
        let host_path = format!("{adapter}/host{host}");
        workshop.machine.scsi_host(&host_path, "/session");
        let session_path = format!("{host_path}/session{session}");
        let object = workshop
            .machine
            .class_object(&session_path, "iscsi_session");
        workshop.machine.file(
            &format!("{object}/targetname"),
            "iqn.2010-10.org.openstack:v1",
        );
        let connection = format!("{session_path}/connection{session}:0");
        let object = workshop
            .machine
            .class_object(&connection, "iscsi_connection");
        workshop
            .machine
            .file(&format!("{object}/persistent_address"), address)
            .file(&format!("{object}/persistent_port"), "3260");
        for lun in LUNS.into_iter().step_by(2) {
            workshop.unit(&session_path, &format!("{host}:0:0:{lun}"), &answers(seed));
            seed += 1;
        }
    }
    assert!(workshop.compare(&programs) >= 2 * 40);
}

#[test]
fn volumes_and_virtual_disks_are_called_as_udev_calls_them() {
    let Some(programs) = Programs::find("volumes_and_virtual_disks_are_called_as_udev_calls_them")
    else {
        return;
    };
    let mut workshop = Workshop::new();
    let mut seed = 200;
    // RAID controllers; one has two hosts, one is of a SAS driver.
    let (first, second) = (
        "pci0000:3a/0000:3a:00.0/0000:3b:00.0",
        "pci0000:5d/0000:5e:00.0",
    );
    for (controller, address, is_sas) in [
        (first, "2:0:0", false),
        (first, "2:1:0", false),
        (second, "1:0:0", true),
        (first, "0:5:7", false),
    ] {
        workshop.pci(controller);
        let host = workshop.host();
        let host_path = format!("{controller}/host{host}");
        workshop
            .machine
            .scsi_host(&host_path, if is_sas { "/end_device-" } else { "" });
        let class = format!("sys/devices/{host_path}/scsi_host/host{host}/proc_name");
        workshop.machine.file(&class, "megaraid_sas");
        workshop.unit(&host_path, &format!("{host}:{address}"), &answers(seed));
        seed += 1;
    }
    // Parallel SCSI, FireWire, SCSI of virtio and of Hyper-V.
    for (parent, subsystem, class, attribute) in [
        ("pci0000:00/0000:00:0a.0", "pci", "spi_host", ""),
        (
            "pci0000:00/0000:00:0b.0/fw1/fw1.0",
            "firewire",
            "",
            "ieee1394_id",
        ),
        ("pci0000:00/0000:00:0c.0/virtio3", "virtio", "", ""),
        (
            "LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/f8b3781a-1e82-4818-a1c3-63d806ec15bb",
            "vmbus",
            "",
            "",
        ),
    ] {
        let (upper, _) = parent.rsplit_once('/').unwrap();
        match subsystem {
            "vmbus" => {
                let parts: Vec<&str> = upper.split('/').collect();
                for end in 1..=parts.len() {
                    workshop.machine.bus_device(&parts[..end].join("/"), "acpi");
                }
                let guid = "{f8b3781a-1e82-4818-a1c3-63d806ec15bb}";
                workshop
                    .machine
                    .file(&format!("sys/devices/{parent}/device_id"), guid);
            }
            "firewire" => {
                workshop.pci("pci0000:00/0000:00:0b.0");
                workshop.machine.bus_device(upper, "firewire");
            }
            "virtio" => {
                workshop.pci(upper);
            }
            _ => {}
        }
        workshop.machine.bus_device(parent, subsystem);
        let host = workshop.host();
        let host_path = format!("{parent}/host{host}");
        workshop.machine.scsi_host(&host_path, "");
        if !class.is_empty() {
            workshop.machine.class_object(&host_path, class);
        }
        let device = workshop.unit(&host_path, &format!("{host}:0:1:2"), &answers(seed));
        if !attribute.is_empty() {
            workshop.machine.file(
                &format!("sys/devices/{device}/{attribute}"),
                "00110600000e6b8a:0:0",
            );
        }
        seed += 1;
    }
    // virtio: at PCI, in memory, at a channel.
    let places = [
        ("pci0000:00/0000:00:03.0", "pci"),
        ("platform/a003e00.virtio_mmio", "platform"),
        ("css0/0.0.0007/0.0.0007", "ccw"),
    ];
    for (index, (place, bus)) in places.into_iter().enumerate() {
        workshop.machine.bus_device(place, bus);
        let device = format!("{place}/virtio{index}");
        workshop
            .machine
            .bus_device(&device, "virtio")
            .file(&format!("sys/devices/{device}/vendor"), "0x1af4");
        let letter = char::from(b'a' + u8::try_from(index).unwrap());
        let path = workshop.block(
            &device,
            &format!("vd{letter}"),
            &format!("254:{}", index * 16),
        );
        workshop.machine.bytes(
            &format!("{path}/serial"),
            format!("DISK-{index}").as_bytes(),
        );
    }
    // Cards, DASD, Xen, persistent memory.
    workshop
        .machine
        .bus_device("platform/fe340000.mmc", "platform")
        .bus_device("platform/fe340000.mmc/mmc_host/mmc0/mmc0:0001", "mmc");
    let card = "platform/fe340000.mmc/mmc_host/mmc0/mmc0:0001";
    workshop
        .machine
        .file(&format!("sys/devices/{card}/serial"), "0x1234abcd")
        .file(&format!("sys/devices/{card}/name"), "DG4016");
    workshop.block(card, "mmcblk0", "179:0");
    workshop.block(card, "mmcblk0boot0", "179:8");
    workshop
        .machine
        .bus_device("css0/0.0.0006", "css")
        .bus_device("css0/0.0.0006/0.0.e000", "ccw");
    workshop.block("css0/0.0.0006/0.0.e000", "dasda", "94:0");
    workshop.machine.bus_device("vbd-51712", "xen");
    workshop.block("vbd-51712", "xvda", "202:0");
    assert!(workshop.compare(&programs) >= 2 * 14);
}

#[test]
fn nvme_disks_are_called_as_udev_calls_them() {
    let Some(programs) = Programs::find("nvme_disks_are_called_as_udev_calls_them") else {
        return;
    };
    let mut workshop = Workshop::new();
    // At a bridge, behind Intel's VMD, in an Apple machine.
    let places = [
        "pci0000:ae/0000:ae:05.0/0000:b0:00.0",
        "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
        "platform/27bcc0000.nvme",
    ];
    for (index, place) in places.into_iter().enumerate() {
        if place.starts_with("pci") {
            workshop.pci(place);
        } else {
            workshop.machine.bus_device(place, "platform");
        }
        let controller = format!("{place}/nvme/nvme{index}");
        workshop
            .machine
            .nvme_controller(&controller, &format!("S/1 {index}"));
        for namespace in [1, 2, 33] {
            let name = format!("nvme{index}n{namespace}");
            let number = format!("259:{}", index * 40 + namespace);
            let wwid = format!("eui.00253844310{index}{namespace:02}");
            workshop
                .machine
                .nvme_namespace(&controller, &name, &number, SIZE, &wwid);
            workshop.disks.push(name);
        }
    }
    // Two paths to a subsystem, one of whose controllers has its number.
    let subsystem = "virtual/nvme-subsystem/nvme-subsys6";
    workshop.machine.nvme_controller(subsystem, "S5XXNX0");
    for (controller, place) in [(6, "0000:b1:00.0"), (7, "0000:b2:00.0")] {
        let place = format!("pci0000:ae/0000:ae:06.0/{place}");
        workshop.pci(&place);
        let path = format!("{place}/nvme/nvme{controller}");
        workshop.machine.nvme_controller(&path, "S5XXNX0");
        let link = format!("sys/devices/{subsystem}/nvme{controller}");
        workshop.machine.link(&link, &format!("sys/devices/{path}"));
    }
    workshop.machine.nvme_namespace(
        subsystem,
        "nvme6n1",
        "259:200",
        SIZE,
        "eui.0025384431a00123",
    );
    workshop.disks.push("nvme6n1".to_owned());
    assert!(workshop.compare(&programs) >= 2 * 10);
}

#[test]
fn disks_on_usb_are_called_as_udev_calls_them() {
    let Some(programs) = Programs::find("disks_on_usb_are_called_as_udev_calls_them") else {
        return;
    };
    let mut workshop = Workshop::new();
    let hub = "pci0000:00/0000:00:14.0";
    workshop.pci(hub);
    workshop.machine.bus_device(&format!("{hub}/usb2"), "usb");
    let sticks = [
        ("2-1", "06", "4C530001", true, false),
        ("2-2/2-2.4/2-2.4.3", "06", "", true, false),
        ("2-3", "02", "AB,CD", true, false),
        ("2-4", "06", " with  blanks/and signs ", false, false),
        ("2-5", "05", "4C530005", true, false),
        ("2-6", "06", "DEADBEEF", false, true),
    ];
    for (seed, (path, subclass, serial, is_removable, has_ata)) in (300..).zip(sticks) {
        let parts: Vec<&str> = path.split('/').collect();
        for end in 1..=parts.len() {
            workshop
                .machine
                .bus_device(&format!("{hub}/usb2/{}", parts[..end].join("/")), "usb");
        }
        let device = format!("{hub}/usb2/{path}");
        let interface = format!("{device}/{}:1.0", parts.last().unwrap());
        workshop
            .machine
            .bus_device(&interface, "usb")
            .file(&format!("sys/devices/{device}/idVendor"), "0781")
            .file(&format!("sys/devices/{device}/idProduct"), "5567")
            .file(&format!("sys/devices/{device}/manufacturer"), "San  Disk/")
            .file(&format!("sys/devices/{device}/product"), "Cruzer Blade")
            .file(&format!("sys/devices/{interface}/bInterfaceClass"), "08")
            .file(
                &format!("sys/devices/{interface}/bInterfaceSubClass"),
                subclass,
            )
            .file(&format!("sys/devices/{interface}/bInterfaceNumber"), "00");
        if !serial.is_empty() {
            workshop
                .machine
                .file(&format!("sys/devices/{device}/serial"), serial);
        }
        let host = workshop.host();
        let host_path = format!("{interface}/host{host}");
        workshop.machine.scsi_host(&host_path, "");
        let mut of_disk = answers(seed);
        if has_ata {
            of_disk.identify = identify("Bridged Disk", "ATA0001", 0x5000_c500_a1ff_0001);
        }
        let unit = workshop.unit(&host_path, &format!("{host}:0:0:{}", seed % 2), &of_disk);
        let name = workshop.disks.last().unwrap();
        let flag = if is_removable { "1" } else { "0" };
        let file = format!("sys/devices/{unit}/block/{name}/removable");
        workshop.machine.file(&file, flag);
    }
    assert!(workshop.compare(&programs) >= 2 * 6);
}
