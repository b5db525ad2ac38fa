//! The disks of machines made of files.

use serde_json::json;

use super::*;
use crate::machine::block::scsi::tests::ata_page;
use crate::machine::testing::FakeMachine;

mod against_udev;

const GIB: u64 = 1 << 30;

fn names(devices: &[BlockDevice]) -> Vec<&str> {
    devices.iter().map(|device| device.name.as_str()).collect()
}

fn find<'a>(devices: &'a [BlockDevice], name: &str) -> &'a BlockDevice {
    devices.iter().find(|device| device.name == name).unwrap()
}

#[test]
fn lists_disks_in_the_order_of_their_numbers_and_nothing_else() {
    let mut machine = FakeMachine::new();
    let vda = machine.virtio_disk("vda", 4 * GIB, "DISK-0");
    machine.partition(&vda, "vda1", "254:1", GIB);
    machine.nvme_disk("nvme0n1", 4 * GIB, "DISK-1", "nvme.1b36-45-51-00000001");
    machine.sata_disk("sda", 8 * GIB, 1);
    machine.sata_disk("sdb", 0, 2);
    machine.array("md0", "raid1", GIB, &[&vda]);
    machine.array("md1", "", GIB, &[]);
    machine.array("md2", "linear", GIB, &[]);
    for (name, number) in [
        ("loop0", "7:0"),
        ("ram0", "1:0"),
        ("zram0", "252:0"),
        ("fd0", "2:0"),
        ("sr0", "11:0"),
        ("dm-0", "253:0"),
        ("nbd0", "43:0"),
    ] {
        machine.virtual_block(name, number, GIB);
    }
    let hidden = machine.nvme_disk("nvme1c0n1", GIB, "x", "eui.1");
    machine.file(&format!("{hidden}/hidden"), "1");

    let system = machine.system();
    let devices = probe(&system);
    assert_eq!(
        names(&devices),
        ["/dev/sda", "/dev/md0", "/dev/vda", "/dev/nvme0n1"]
    );
    let all = probe_with_partitions(&system);
    let partition = find(&all, "/dev/vda1");
    assert_eq!(partition.kind, DeviceKind::Partition);
    assert_eq!(partition.parent.as_deref(), Some("/dev/vda"));
    assert_eq!(
        (partition.size, partition.logical_sectors),
        (GIB, Some(512))
    );
    let array = find(&all, "/dev/md0");
    assert_eq!(
        (array.kind, array.members.as_slice()),
        (DeviceKind::Raid, &["/dev/vda".to_owned()][..])
    );
}

/// The same machine as in the recorded inventory of a real agent, without udev.
#[test]
fn reads_virtio_and_nvme_like_the_recorded_inventory() {
    let mut machine = FakeMachine::new();
    machine.virtio_disk("vda", 4294967296, "DISK-0");
    let wwid = "nvme.1b36-4449534b2d31-51454d55204e564d65204374726c-00000001";
    let path = machine.nvme_disk("nvme0n1", 4294967296, "DISK-1", wwid);
    machine.file(&format!("{path}/queue/physical_block_size"), "512");
    let devices = probe(&machine.system());
    assert_eq!(
        devices[0].to_json(),
        json!({
            "name": "/dev/vda", "model": null, "size": 4294967296_u64, "rotational": true,
            "wwn": null, "serial": "DISK-0", "vendor": "0x1af4",
            "wwn_with_extension": null, "wwn_vendor_extension": null, "hctl": null,
            "by_path": "/dev/disk/by-path/virtio-pci-0000:00:03.0",
            // The recorded lsblk is older than its knowledge of virtio, and says null.
            "logical_sectors": 512, "physical_sectors": 512, "tran": "virtio",
        })
    );
    assert_eq!(
        devices[1].to_json(),
        json!({
            "name": "/dev/nvme0n1", "model": "QEMU NVMe Ctrl", "size": 4294967296_u64,
            "rotational": false, "wwn": wwid, "serial": "DISK-1", "vendor": null,
            "wwn_with_extension": null, "wwn_vendor_extension": null, "hctl": null,
            "by_path": "/dev/disk/by-path/pci-0000:00:04.0-nvme-1",
            "logical_sectors": 512, "physical_sectors": 512, "tran": "nvme",
        })
    );
    let keys: Vec<String> = devices[0]
        .to_json()
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        keys,
        [
            "name",
            "model",
            "size",
            "rotational",
            "wwn",
            "serial",
            "vendor",
            "wwn_with_extension",
            "wwn_vendor_extension",
            "hctl",
            "by_path",
            "logical_sectors",
            "physical_sectors",
            "tran"
        ]
    );
}

#[test]
fn reads_a_sata_disk_without_udev() {
    let mut machine = FakeMachine::new();
    machine.sata_disk("sda", 8 * GIB, 3);
    let device = "sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0";
    machine.bytes(
        &format!("{device}/vpd_pg89"),
        &ata_page("Samsung SSD 860 EVO 1TB", "S3Z9NB0K123456X"),
    );
    let devices = probe(&machine.system());
    let expected = BlockDevice {
        name: "/dev/sda".into(),
        model: "Samsung SSD 860 EVO 1TB".into(),
        size: 8 * GIB,
        wwn: Some("0x5002538e40a1b2c3".into()),
        wwn_with_extension: Some("0x5002538e40a1b2c3".into()),
        serial: Some("S3Z9NB0K123456X".into()),
        vendor: Some("ATA".into()),
        hctl: Some("2:0:0:0".into()),
        by_path: Some("/dev/disk/by-path/pci-0000:00:1f.2-ata-3".into()),
        logical_sectors: Some(512),
        physical_sectors: Some(512),
        tran: Some("sata".into()),
        other_serials: vec![
            "Samsung_SSD_860_EVO_1TB_S3Z9NB0K123456X".into(),
            "5002538e40a1b2c3".into(),
            "35002538e40a1b2c3".into(),
        ],
        other_paths: vec!["/dev/disk/by-path/pci-0000:00:1f.2-ata-3.0".into()],
        ..BlockDevice::default()
    };
    assert_eq!(devices, [expected]);
}

#[test]
fn reads_sas_usb_and_raid_controllers() {
    let mut machine = FakeMachine::new();
    let hba = "pci0000:00/0000:02:00.0";
    machine.bus_device(hba, "pci");
    let port = format!("sys/devices/{hba}/host4/port-4:0");
    machine
        .file(&format!("{port}/sas_port/port-4:0/num_phys"), "1")
        .file(
            &format!("{port}/end_device-4:0/sas_device/end_device-4:0/phy_identifier"),
            "2",
        );
    machine.scsi_disk(hba, 4, "/port-4:0/end_device-4:0", "sda", GIB);
    machine.usb_disk("sdb", GIB, "4C530001");
    let raid = "pci0000:00/0000:03:00.0";
    machine.bus_device(raid, "pci");
    machine.scsi_disk(raid, 7, "", "sdc", GIB);
    let device = format!("sys/devices/{raid}/host7/target7:0:0/7:0:0:0");
    machine
        .file(
            &format!("{device}/wwid"),
            "naa.600508b1001c5d3e0123456789abcdef",
        )
        .bytes(&format!("{device}/vpd_pg80"), b"\0\x80\0\x08PDNLH0BR");

    let devices = probe(&machine.system());
    let facts: Vec<_> = devices
        .iter()
        .map(|d| {
            (
                d.by_path.as_deref().unwrap(),
                d.tran.as_deref(),
                d.serial.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            (
                "/dev/disk/by-path/pci-0000:02:00.0-sas-phy2-lun-0",
                Some("sas"),
                None
            ),
            (
                "/dev/disk/by-path/pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0",
                Some("usb"),
                Some("4C530001")
            ),
            (
                "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0",
                None,
                Some("PDNLH0BR")
            ),
        ]
    );
    let raid = &devices[2];
    assert_eq!(
        raid.wwn.as_deref(),
        Some("0x600508b1001c5d3e0123456789abcdef")
    );
    assert_eq!(raid.other_wwns, ["0x600508b1001c5d3e"]);
    assert_eq!(
        raid.wwn_vendor_extension.as_deref(),
        Some("0x0123456789abcdef")
    );
    assert_eq!(
        (raid.vendor.as_deref(), raid.model.as_str()),
        (Some("SEAGATE"), "ST4000NM0023")
    );
}

#[test]
fn a_disk_with_several_paths_is_one_disk() {
    let mut machine = FakeMachine::new();
    let hba = "pci0000:00/0000:05:00.0";
    machine.bus_device(hba, "pci");
    let mut paths = Vec::new();
    for (host, name) in [(1, "sda"), (2, "sdb")] {
        let between = format!("/rport-{host}:0-0");
        paths.push(machine.scsi_disk(hba, host, &between, name, 8 * GIB));
    }
    for (path, name, number) in [(0, "sda1", "8:1"), (1, "sdb1", "8:17")] {
        machine.partition(&paths[path], name, number, GIB);
    }
    machine.sata_disk("sdc", GIB, 3);
    let map = machine.map("dm-0", 8 * GIB, "mpath-3600a0b", &[&paths[0], &paths[1]]);
    machine.map("dm-1", GIB, "part1-mpath-3600a0b", &[&map]);
    machine.map("dm-2", GIB, "LVM-abc", &[&format!("{}/sda1", paths[0])]);
    machine.udev(
        "253:0",
        &[
            ("DM_SERIAL", "serial3"),
            ("DM_WWN", "wwn3"),
            ("DM_NAME", "mpatha"),
        ],
    );
    machine.udev(
        "8:0",
        &[("ID_SERIAL_SHORT", "short"), ("ID_WWN", "0x600a0b")],
    );

    let all = probe_with_partitions(&machine.system());
    assert_eq!(names(&all), ["/dev/sdc", "/dev/dm-0", "/dev/dm-1"]);
    let disk = find(&all, "/dev/dm-0");
    assert_eq!((disk.kind, disk.size), (DeviceKind::Disk, 8 * GIB));
    assert_eq!(disk.tran.as_deref(), Some("fc"));
    assert_eq!(disk.model, "ST4000NM0023");
    assert_eq!(
        (disk.hctl.as_deref(), disk.by_path.as_deref()),
        (None, None)
    );
    assert_eq!(disk.serial.as_deref(), Some("serial3"));
    assert_eq!(disk.other_serials, ["short"]);
    assert_eq!(disk.wwn.as_deref(), Some("wwn3"));
    assert_eq!(disk.other_wwns, ["0x600a0b"]);
    let partition = find(&all, "/dev/dm-1");
    assert_eq!(partition.kind, DeviceKind::Partition);
    assert_eq!(partition.parent.as_deref(), Some("/dev/dm-0"));
}

#[test]
fn udevs_properties_come_before_the_kernels() {
    let mut machine = FakeMachine::new();
    machine.sata_disk("sda", GIB, 1);
    machine.udev(
        "8:0",
        &[
            ("ID_MODEL_ENC", r"Samsung\x20SSD\x20860\x20EVO"),
            ("ID_SERIAL", "Samsung_SSD_S3Z"),
            ("ID_SERIAL_SHORT", "S3Z"),
            ("SCSI_IDENT_SERIAL", "S3Z-IDENT"),
            ("ID_WWN", "0x5002538e40ffffff"),
            ("ID_WWN_WITH_EXTENSION", "0x5002538e40ffffff0001"),
        ],
    );
    machine
        .link("dev/disk/by-path/pci-0000:00:1f.2-ata-1.0", "dev/sda")
        .link("dev/disk/by-path/pci-0000:00:1f.2-ata-1", "dev/sda")
        .link("dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1", "dev/sda1");
    let devices = probe(&machine.system());
    let disk = &devices[0];
    assert_eq!(disk.model, "Samsung SSD 860 EVO");
    assert_eq!(disk.serial.as_deref(), Some("S3Z-IDENT"));
    assert_eq!(
        disk.other_serials,
        [
            "S3Z",
            "Samsung_SSD_S3Z",
            "5002538e40a1b2c3",
            "35002538e40a1b2c3"
        ]
    );
    assert_eq!(disk.wwn.as_deref(), Some("0x5002538e40ffffff0001"));
    assert_eq!(
        disk.other_wwns,
        ["0x5002538e40ffffff", "0x5002538e40a1b2c3"]
    );
    assert_eq!(
        disk.wwn_with_extension.as_deref(),
        Some("0x5002538e40ffffff0001")
    );
    assert_eq!(
        disk.by_path.as_deref(),
        Some("/dev/disk/by-path/pci-0000:00:1f.2-ata-1")
    );
    assert_eq!(
        disk.other_paths,
        ["/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0"]
    );
}

#[test]
fn files_play_the_disks_of_a_simulation() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::File::create(directory.path().join("disk0"))
        .unwrap()
        .set_len(GIB)
        .unwrap();
    std::fs::File::create(directory.path().join("empty")).unwrap();
    let devices = probe(&System::simulated(directory.path()));
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].kind, devices[0].size), (DeviceKind::File, GIB));
    assert!(devices[0].name.ends_with("/disk0"));
}

#[test]
fn this_machine_can_be_read() {
    for device in probe_with_partitions(&System::linux()) {
        assert!(device.name.starts_with("/dev/"), "{device:?}");
        assert!(device.size > 0, "{device:?}");
    }
}
