use super::*;
use crate::machine::testing::{FakeMachine, Programs};

#[test]
fn reads_smbios_and_the_device_tree() {
    let mut machine = FakeMachine::new();
    assert_eq!(probe(&machine.system()), SystemVendor::default());
    for (name, text) in [
        ("product_name", "ABC123 (GENERIC_SERVER)"),
        ("product_serial", "1234567"),
        ("sys_vendor", "GENERIC "),
        ("bios_vendor", "BIOSVNDR"),
        ("bios_version", "1.2.3"),
        ("bios_date", "03/30/2023"),
    ] {
        machine.file(&format!("sys/class/dmi/id/{name}"), text);
    }
    assert_eq!(
        probe(&machine.system()).to_json(),
        json!({
            "product_name": "ABC123 (GENERIC_SERVER)", "serial_number": "1234567",
            "manufacturer": "GENERIC",
            "firmware": {"vendor": "BIOSVNDR", "version": "1.2.3", "build_date": "03/30/2023"},
        })
    );
    machine.bytes("proc/device-tree/model", b"Board X\0");
    let vendor = probe(&machine.system());
    assert_eq!(vendor.product_name, "Board X");
    assert_eq!(vendor.serial_number, "1234567");
}

#[test]
fn system_uuid_is_that_of_the_firmware_or_none() {
    for (text, expected) in [
        (
            "4C4C4544-0042-3510-8052-B4C04F4A3132\n",
            "4c4c4544-0042-3510-8052-b4c04f4a3132",
        ),
        ("00000000-0000-0000-0000-000000000000\n", ""),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n", ""),
        ("Not Settable\n", ""),
    ] {
        let mut machine = FakeMachine::new();
        machine.file("sys/class/dmi/id/product_uuid", text);
        assert_eq!(system_uuid(&machine.system()), expected);
    }
    assert_eq!(system_uuid(&FakeMachine::new().system()), "");
    let simulated = |directory| system_uuid(&System::simulated(directory));
    assert_eq!(simulated("/a/disks").len(), 36);
    assert_eq!(simulated("/a/disks"), simulated("/a/disks"));
    assert_ne!(simulated("/a/disks"), simulated("/b/disks"));
}

#[test]
fn the_order_number_follows_the_product() {
    for (product, sku, expected) in [
        (
            "PowerEdge R740",
            "SKU=0715;Model=R740",
            "PowerEdge R740 (SKU=0715;Model=R740)",
        ),
        (
            "ProLiant DL360 Gen10",
            " 867959-B21 ",
            "ProLiant DL360 Gen10 (867959-B21)",
        ),
        ("X", "", "X"),
        ("", "Y", "(Y)"),
        ("", "", ""),
    ] {
        let mut machine = FakeMachine::new();
        machine
            .file("sys/class/dmi/id/product_name", product)
            .file("sys/class/dmi/id/product_sku", sku);
        assert_eq!(probe(&machine.system()).product_name, expected);
    }
}

/// SMBIOS tables with the texts of a firmware and a system, and the entry point to them.
fn smbios(machine: &mut FakeMachine, texts: &[&[u8]; 7]) {
    let [vendor, version, date, maker, product, serial, sku] = texts;
    let structure = |formatted: &[u8], texts: &[&[u8]]| {
        let mut bytes = formatted.to_vec();
        for text in texts {
            // A text that is empty would end the texts.
            bytes.extend(if text.is_empty() { b" " } else { *text });
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    };
    let mut firmware = [0; 0x18];
    firmware[..6].copy_from_slice(&[0, 0x18, 0, 0, 1, 2]);
    firmware[8] = 3;
    let mut system = [0; 0x1b];
    system[..8].copy_from_slice(&[1, 0x1b, 1, 0, 1, 2, 0, 3]);
    system[0x19] = 4;
    let tables = [
        structure(&firmware, &[vendor, version, date]),
        structure(&system, &[maker, product, serial, sku]),
        structure(&[127, 4, 2, 0], &[b"end"]),
    ]
    .concat();
    let mut entry = *b"_SM3_\0\x18\x03\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0";
    entry[12..16].copy_from_slice(&u32::try_from(tables.len()).unwrap().to_le_bytes());
    entry[5] = entry.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    machine
        .bytes("sys/firmware/dmi/tables/smbios_entry_point", &entry)
        .bytes("sys/firmware/dmi/tables/DMI", &tables);
    for (name, text) in [
        ("bios_vendor", vendor),
        ("bios_version", version),
        ("bios_date", date),
        ("sys_vendor", maker),
        ("product_name", product),
        ("product_serial", serial),
        ("product_sku", sku),
    ] {
        let text = [*text, b"\n"].concat();
        machine.bytes(&format!("sys/class/dmi/id/{name}"), &text);
    }
}

#[test]
fn the_vendor_is_reported_as_lshw_reports_it() {
    let Some(programs) = Programs::find("the_vendor_is_reported_as_lshw_reports_it") else {
        return;
    };
    // Debian's `lshw` cuts a text at a byte that is not UTF-8; that is not followed.
    let cases: [[&[u8]; 7]; 4] = [
        [
            b"Dell Inc.",
            b"2.19.1",
            b"06/04/2023",
            b"Dell Inc.",
            b"PowerEdge R740",
            b"ABC1234",
            b"SKU=NotProvided;ModelName=PowerEdge R740",
        ],
        [
            b"HPE",
            b"U32",
            b"02/20/2020",
            b" HPE ",
            b"ProLiant DL360 Gen10",
            b"CZ3  ",
            b"867959-B21",
        ],
        [
            b"American Megatrends",
            b"1",
            b"1",
            b"Supermicro",
            b"X11",
            b"",
            b"",
        ],
        [b"x", b"y", b"z", b"w", b"", b"0", b"only"],
    ];
    for texts in cases {
        let mut machine = FakeMachine::new();
        smbios(&mut machine, &texts);
        let ours = probe(&machine.system());
        let printed = programs.run_inside(&mut machine, "inside lshw -quiet -json");
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let system = printed.get(0).unwrap_or(&printed);
        let children = |node: &Value| node["children"].as_array().cloned().unwrap_or_default();
        let core = children(system)
            .into_iter()
            .find(|node| node["id"] == "core")
            .unwrap();
        let firmware = children(&core)
            .into_iter()
            .find(|node| node["id"] == "firmware")
            .unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let expected = SystemVendor {
            product_name: text(&system["product"]),
            serial_number: text(&system["serial"]),
            manufacturer: text(&system["vendor"]),
            firmware_vendor: text(&firmware["vendor"]),
            firmware_version: text(&firmware["version"]),
            firmware_date: text(&firmware["date"]),
        };
        assert_eq!(ours, expected);
    }
}

#[test]
fn a_byte_that_is_not_utf8_costs_nothing_but_itself() {
    let mut machine = FakeMachine::new();
    machine
        .bytes("sys/class/dmi/id/sys_vendor", b"M\xfcller GmbH\x01 \n")
        .bytes("sys/class/dmi/id/product_serial", b"\xff1234\n");
    let vendor = probe(&machine.system());
    assert_eq!(vendor.manufacturer, "M\u{fffd}ller GmbH");
    assert_eq!(vendor.serial_number, "\u{fffd}1234");
}

#[test]
fn power_machines_say_what_they_are_in_the_device_tree() {
    let mut machine = FakeMachine::new();
    machine
        .bytes(
            "proc/device-tree/compatible",
            b"ibm,powernv\0ibm,p9-openbmc\0",
        )
        .bytes("proc/device-tree/model", b"9006-22P\0")
        .bytes("proc/device-tree/model-name", b"IBM Power System LC922\0")
        .bytes("proc/device-tree/system-id", b"78ABCDE\0");
    let vendor = probe(&machine.system());
    assert_eq!(vendor.product_name, "9006-22P (IBM Power System LC922)");
    assert_eq!(
        (vendor.serial_number.as_str(), vendor.manufacturer.as_str()),
        ("78ABCDE", "IBM")
    );
}
