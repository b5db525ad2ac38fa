use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const AMD64: Machine = Machine(Some(0x8664));

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The start of an executable for a processor.
fn executable(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 0x100];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    bytes
}

fn found(root: &Path) -> Vec<(String, String)> {
    let found = search(root, AMD64).unwrap();
    let pair = |loader: Loader| (loader.path, loader.label);
    found.loaders.into_iter().map(pair).collect()
}

fn entries(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(path, label): &(&str, &str)| ((*path).to_owned(), (*label).to_owned());
    pairs.iter().map(pair).collect()
}

#[test]
fn a_list_counts_only_for_loaders_that_are_there() {
    let list = utf16("shimx64.efi,debian,,x\n");
    // Files; entries.
    type Case = (
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    );
    let cases: [Case; 6] = [
        // The list beside the fallback is a copy of the one that is right.
        (
            &[
                "EFI/BOOT/BOOTX64.CSV",
                "EFI/BOOT/BOOTX64.EFI",
                "EFI/debian/BOOTX64.CSV",
                "EFI/debian/shimx64.efi",
            ],
            &[("\\EFI\\debian\\shimx64.efi", "debian")],
        ),
        // Both are right: the one outside counts.
        (
            &[
                "EFI/BOOT/BOOTX64.CSV",
                "EFI/BOOT/shimx64.efi",
                "EFI/debian/BOOTX64.CSV",
                "EFI/debian/shimx64.efi",
            ],
            &[("\\EFI\\debian\\shimx64.efi", "debian")],
        ),
        // FAT knows no case.
        (
            &["efi/Debian/bootx64.csv", "efi/Debian/SHIMX64.EFI"],
            &[("\\efi\\Debian\\SHIMX64.EFI", "debian")],
        ),
        // No list is right: what firmware would start gets an entry.
        (
            &["EFI/BOOT/BOOTX64.CSV", "EFI/BOOT/BOOTX64.EFI"],
            &[("\\EFI\\BOOT\\BOOTX64.EFI", "ironic1")],
        ),
        // Only the list beside the fallback is right.
        (
            &[
                "EFI/boot/BOOTX64.CSV",
                "EFI/boot/shimx64.efi",
                "EFI/vendor/BOOTX64.CSV",
            ],
            &[("\\EFI\\boot\\shimx64.efi", "debian")],
        ),
        // Nothing could be started.
        (&["EFI/debian/BOOTX64.CSV", "EFI/debian/grub.cfg"], &[]),
    ];
    for (files, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let is_list = file.to_lowercase().ends_with(".csv");
            write(dir.path(), file, if is_list { &list } else { b"MZ" });
        }
        assert_eq!(found(dir.path()), entries(expected), "{files:?}");
    }
}

#[test]
fn what_firmware_could_not_start_gets_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let list =
        "empty.efi,A\nsub,B\narm.efi,C\n../x.efi,D\nlink.efi,E\nsub\\deep.efi,F\nx64.efi,G\n";
    write(dir.path(), "EFI/v/BOOTX64.CSV", list.as_bytes());
    write(dir.path(), "EFI/v/empty.efi", b"");
    write(dir.path(), "EFI/v/arm.efi", &executable(0xaa64));
    write(dir.path(), "EFI/v/x64.efi", &executable(0x8664));
    write(dir.path(), "EFI/v/sub/deep.efi", b"MZ");
    write(dir.path(), "EFI/x.efi", b"MZ");
    std::os::unix::fs::symlink("x64.efi", dir.path().join("EFI/v/link.efi")).unwrap();
    let loaders = [("\\EFI\\v\\x64.efi", "G"), ("\\EFI\\v\\sub\\deep.efi", "F")];
    assert_eq!(found(dir.path()), entries(&loaders));
    let left_out = search(dir.path(), AMD64).unwrap().left_out;
    let shown = [
        "\\EFI\\v\\BOOTX64.CSV names \\EFI\\v\\empty.efi, which is empty",
        "\\EFI\\v\\BOOTX64.CSV names \"sub\", which is not there",
        "\\EFI\\v\\BOOTX64.CSV names \\EFI\\v\\arm.efi, which is for another processor",
        "\\EFI\\v\\BOOTX64.CSV names \"../x.efi\", which is not there",
        "\\EFI\\v\\BOOTX64.CSV names \"link.efi\", which is not there",
    ];
    assert_eq!(left_out, shown);
}

#[test]
fn loaders_for_other_processors_are_left_out_where_there_is_no_list() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "EFI/BOOT/BOOTAA64.EFI", &executable(0xaa64));
    write(dir.path(), "EFI/BOOT/BOOTIA32.EFI", &executable(0x14c));
    write(dir.path(), "EFI/BOOT/BOOTX64.EFI", &executable(0x8664));
    for (architecture, bits, path) in [
        ("x86_64", Some("64\n"), "\\EFI\\BOOT\\BOOTX64.EFI"),
        ("x86_64", None, "\\EFI\\BOOT\\BOOTX64.EFI"),
        ("x86_64", Some("32\n"), "\\EFI\\BOOT\\BOOTIA32.EFI"),
        ("aarch64", Some("64\n"), "\\EFI\\BOOT\\BOOTAA64.EFI"),
    ] {
        let firmware = Machine::of_firmware(architecture, bits);
        let found = search(dir.path(), firmware).unwrap();
        let paths: Vec<_> = found.loaders.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, [path], "{architecture} {bits:?}");
        assert_eq!(found.left_out.len(), 2);
    }
    let any = search(dir.path(), Machine::ANY).unwrap();
    assert_eq!(any.loaders.len(), 3);
}

#[test]
fn windows_has_a_loader_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "WINDOWS/system32/winload.efi", b"MZ");
    write(dir.path(), "WINDOWS/system32/winresume.efi", b"MZ");
    let loaders = [("\\WINDOWS\\system32\\winload.efi", "ironic1")];
    assert_eq!(found(dir.path()), entries(&loaders));
}

#[test]
fn a_list_fills_neither_the_firmware_nor_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for number in 0..400 {
        list += &format!("no{number}.efi,N{number}\nx.efi,L{number}\x1b[2J\u{9b}\n");
    }
    write(dir.path(), "EFI/v/BOOTX64.CSV", list.as_bytes());
    write(dir.path(), "EFI/v/x.efi", b"MZ");
    let found = search(dir.path(), AMD64).unwrap();
    assert_eq!(found.loaders.len(), MAX_LOADERS);
    assert_eq!(found.loaders.last().unwrap().label, "L0[2J");
    assert!(found.left_out.len() <= MAX_COMPLAINTS);
    let long = format!("x.efi,{}\n", "L".repeat(4096));
    write(dir.path(), "EFI/v/BOOTX64.CSV", long.as_bytes());
    let found = search(dir.path(), AMD64).unwrap();
    assert_eq!(found.loaders[0].label.len(), MAX_LABEL_CHARS);
}

#[test]
fn a_file_system_without_an_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "EFI/BOOT/BOOTX64.EFI", b"MZ");
    let many = dir.path().join("EFI/many");
    fs::create_dir(&many).unwrap();
    let first = many.join("0");
    fs::write(&first, "").unwrap();
    let mut left = MAX_ENTRIES;
    // Links are enough, of which a file system has so many for one file.
    let mut source = first;
    for number in 1..=MAX_ENTRIES {
        let name = many.join(number.to_string());
        if number % 60_000 == 0 || fs::hard_link(&source, &name).is_err() {
            fs::write(&name, "").unwrap();
            source = name;
        }
        left -= 1;
    }
    assert_eq!(left, 0);
    let error = search(dir.path(), AMD64).unwrap_err();
    assert!(error.to_string().contains("it is damaged"), "{error}");
}

/// Generated partitions: whatever lies there and whatever the lists say, every entry names a
/// file that is there, and lists beside the fallback count last.
#[test]
fn entries_name_what_is_there_over_generated_partitions() {
    const DIRECTORIES: [&str; 4] = ["EFI/BOOT", "EFI/debian", "EFI/ubuntu", "efi/Boot"];
    const NAMES: [&str; 5] = [
        "shimx64.efi",
        "GRUBX64.EFI",
        "BOOTX64.EFI",
        "mmx64.efi",
        "a.efi",
    ];
    let mut with_list = 0;
    for seed in 0..400 {
        let mut random = SmallRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut there = BTreeSet::new();
        let mut lists = Vec::new();
        for directory in DIRECTORIES {
            for name in NAMES {
                if random.random_ratio(1, 4) {
                    let path = format!("{directory}/{name}");
                    write(dir.path(), &path, b"MZ");
                    there.insert(path.to_lowercase());
                }
            }
            if random.random_ratio(1, 2) {
                let named: Vec<_> = (0..random.random_range(0..4))
                    .map(|_| NAMES[random.random_range(0..NAMES.len())])
                    .collect();
                let text: String = (0..)
                    .zip(&named)
                    .map(|(number, name)| format!("{},L{number}\r\n", name.to_uppercase()))
                    .collect();
                let bytes = if random.random() {
                    utf16(&text)
                } else {
                    text.into_bytes()
                };
                write(dir.path(), &format!("{directory}/BOOTX64.CSV"), &bytes);
                lists.push((directory, named));
            }
        }
        let found = search(dir.path(), AMD64).unwrap();
        for loader in &found.loaders {
            let path = loader.path[1..].replace('\\', "/").to_lowercase();
            assert!(there.contains(&path), "seed {seed}: {path} is not there");
        }
        let is_right = |directory: &str, named: &[&str]| {
            let path = |name: &&str| format!("{directory}/{name}").to_lowercase();
            named.iter().any(|name| there.contains(&path(name)))
        };
        // FAT has one directory where this file system has two.
        let outside = lists.iter().any(|(directory, named)| {
            !directory.eq_ignore_ascii_case("EFI/BOOT") && is_right(directory, named)
        });
        if outside {
            with_list += 1;
            let from = |loader: &Loader| loader.path.to_lowercase().starts_with("\\efi\\boot\\");
            assert!(!found.loaders.iter().any(from), "seed {seed}");
            assert!(found.loaders.iter().all(|one| one.label.starts_with('L')));
        }
        let any = there.iter().any(|path| path.ends_with("bootx64.efi"));
        assert!(!any || !found.loaders.is_empty(), "seed {seed}");
    }
    assert!(with_list > 50, "{with_list}");
}

#[test]
fn lists_that_say_nothing_are_passed_over() {
    for text in ["", "shimx64.efi", ",Label", "shimx64.efi,"] {
        assert_eq!(records(&utf16(text)), [], "{text}");
    }
}

#[test]
fn lists_of_every_encoding_are_read_in_their_order_without_doubles() {
    let text = "shimx64.efi,Vendor,,x\r\n,no loader\nmm.efi,Keys\nother.efi,Vendor\n";
    let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16(text)).collect();
    let big: Vec<u8> = [0xfe, 0xff]
        .into_iter()
        .chain(text.encode_utf16().flat_map(u16::to_be_bytes))
        .collect();
    let narrow = [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat();
    for bytes in [utf16(text), marked, big, text.as_bytes().to_vec(), narrow] {
        let read: Vec<_> = records(&bytes)
            .into_iter()
            .map(|record| (record.loader, record.label))
            .collect();
        let expected = [("shimx64.efi", "Vendor"), ("mm.efi", "Keys")];
        assert_eq!(read, entries(&expected));
    }
}
