use super::*;

fn head(marks: &[(usize, &[u8])]) -> Vec<u8> {
    let mut head = vec![0; 1 << 20];
    for (offset, bytes) in marks {
        head[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    head
}

fn mbr() -> Vec<u8> {
    head(&[(450, &[0x83]), (510, &[0x55, 0xaa])])
}

fn verdict(declared: Option<&str>, head: &[u8], is_inspected: bool) -> Result<Format, String> {
    let permitted = ["raw", "gpt", "qcow2"].map(str::to_owned);
    decide(declared, head, &permitted, is_inspected).map_err(|error| error.to_string())
}

#[test]
fn what_is_raw_is_written_as_it_is() {
    let zeros = head(&[]);
    assert_eq!(verdict(Some("raw"), &zeros, true), Ok(Format::Raw));
    assert_eq!(verdict(None, &zeros, true), Ok(Format::Raw));
    assert_eq!(verdict(Some("raw"), &mbr(), true), Ok(Format::Raw));
    assert_eq!(verdict(Some("gpt"), &mbr(), true), Ok(Format::Raw));
    assert_eq!(verdict(None, &mbr(), true), Ok(Format::Gpt));
    // A declared raw image may be a hybrid CD.
    let hybrid = head(&[(450, &[0x83]), (510, &[0x55, 0xaa]), (32769, b"CD001")]);
    assert_eq!(verdict(Some("raw"), &hybrid, true), Ok(Format::Raw));
    assert_eq!(verdict(Some("raw"), b"tiny", true), Ok(Format::Raw));
}

#[test]
fn another_container_than_declared_is_refused_and_both_are_named() {
    for (signature, name) in [
        (&b"QFI\xfb"[..], "qcow2"),
        (b"KDMV", "vmdk"),
        (b"# Disk DescriptorFile", "vmdk"),
        (b"conectix", "vhd"),
        (b"vhdxfile", "vhdx"),
        (b"QED\0", "qed"),
    ] {
        let image = head(&[(0, signature)]);
        assert_eq!(
            verdict(Some("raw"), &image, true),
            Err(format!(
                "Security: Expected format was raw, but image was actually {name}"
            ))
        );
        // The operator may switch that off; then raw means raw.
        assert_eq!(verdict(Some("raw"), &image, false), Ok(Format::Raw));
    }
}

#[test]
fn a_compressed_file_is_decoded_when_raw_or_nothing_is_declared() {
    for (signature, format) in [
        (&b"\x1f\x8b\x08"[..], Format::Gzip),
        (b"\xfd7zXZ\0", Format::Xz),
        (b"\x28\xb5\x2f\xfd", Format::Zstd),
        (b"BZh91AY&SY", Format::Bzip2),
        (b"BZh1\x17\x72\x45\x38\x50\x90", Format::Bzip2),
    ] {
        let image = head(&[(0, signature)]);
        for declared in [Some("raw"), Some("gpt"), Some(format.name()), None] {
            assert_eq!(verdict(declared, &image, true), Ok(format));
        }
        for (declared, decided) in [
            (Some("raw"), Format::Raw),
            (Some(format.name()), format),
            (None, format),
        ] {
            assert_eq!(verdict(declared, &image, false), Ok(decided));
        }
        assert!(verdict(Some("qcow2"), &image, true).is_err());
    }
    // Two bytes by chance make no partition table; with a table it may be either.
    let by_chance = head(&[(0, b"\x1f\x8b\x08"), (446, &[7; 64]), (510, &[0x55, 0xaa])]);
    let both = [
        (0, &b"\x1f\x8b\x08"[..]),
        (450, &[0x83]),
        (510, &[0x55, 0xaa]),
    ];
    for declared in [Some("raw"), None] {
        assert_eq!(verdict(declared, &by_chance, true), Ok(Format::Gzip));
        let error = verdict(declared, &head(&both), true).unwrap_err();
        assert!(error.contains("formats: gpt, gzip"), "{error}");
    }
    // Three letters make no format.
    assert_eq!(
        verdict(Some("raw"), &head(&[(0, b"BZhome")]), true),
        Ok(Format::Raw)
    );
}

#[test]
fn what_is_inside_a_compressed_file_is_a_plain_disk() {
    let permitted = ["raw", "gpt"].map(str::to_owned);
    let inside = |declared, image: &[u8]| {
        check_inside(Format::Zstd, declared, image, &permitted).map_err(|error| error.to_string())
    };
    for declared in [Some("raw"), None] {
        assert_eq!(inside(declared, &mbr()), Ok(()));
        assert_eq!(inside(declared, &head(&[])), Ok(()));
        for (signature, text) in [
            (&b"QFI\xfb"[..], "actually qcow2"),
            (b"KDMV", "actually vmdk"),
            (b"\x1f\x8b\x08", "actually gzip"),
        ] {
            let refused = inside(declared, &head(&[(0, signature)])).unwrap_err();
            assert!(
                refused.contains("inside the zstd image") && refused.contains("Security"),
                "{refused}"
            );
            assert!(declared.is_none() || refused.contains(text), "{refused}");
        }
        assert!(inside(declared, &[]).unwrap_err().contains("empty"));
    }
    // What nobody declared is looked at like any other.
    let iso = head(&[(32769, b"CD001")]);
    assert!(inside(None, &iso).unwrap_err().contains("are allowed"));
    let unsigned = head(&[(510, &[0x55, 0xaa])]);
    assert!(
        inside(None, &unsigned)
            .unwrap_err()
            .contains("no partition")
    );
}

#[test]
fn what_is_inspected_must_be_permitted_unambiguous_and_as_declared() {
    let qcow2 = (0, &b"QFI\xfb"[..]);
    for (declared, image, text) in [
        (
            Some("qcow2"),
            head(&[]),
            "Expected format was qcow2, but image was actually raw",
        ),
        (
            None,
            head(&[qcow2, (510, &[0x55, 0xaa])]),
            "multiple potential formats: qcow2, gpt",
        ),
        (
            None,
            head(&[(32769, b"CD001")]),
            "Detected image format was iso, but only raw, gpt, qcow2 are allowed",
        ),
        (
            Some("qcow2"),
            head(&[(0, b"\x1f\x8b\x08")]),
            "image was actually gzip",
        ),
        (
            Some("vmdk"),
            head(&[qcow2]),
            "Expected format was vmdk, but image was actually qcow2",
        ),
        (None, Vec::new(), "empty"),
    ] {
        let error = verdict(declared, &image, true).unwrap_err();
        assert!(error.contains(text), "{declared:?}: {error}");
    }
}

#[test]
fn what_is_ambiguous_is_refused_in_all_pairs() {
    type Mark = (usize, &'static [u8]);
    let marks: [(&str, &[Mark]); 3] = [
        ("qcow2", &[(0, b"QFI\xfb")]),
        ("gpt", &[(450, &[0x83]), (510, &[0x55, 0xaa])]),
        ("iso", &[(32769, b"CD001")]),
    ];
    let permitted = ["raw", "gpt", "iso", "qcow2"].map(str::to_owned);
    for (index, (one, first)) in marks.iter().enumerate() {
        for (other, second) in &marks[index + 1..] {
            let image = head(&[*first, *second].concat());
            for declared in [None, Some(*one), Some(*other)] {
                // What is declared as a plain disk may be a hybrid CD.
                if declared == Some("gpt") {
                    continue;
                }
                let said = decide(declared, &image, &permitted, true)
                    .unwrap_err()
                    .to_string();
                assert!(said.contains("multiple potential formats"), "{said}");
                assert!(said.contains(one) && said.contains(other), "{said}");
            }
        }
    }
}

#[test]
fn what_is_never_decoded_says_so_and_what_is() {
    let error = verdict(Some("vmdk"), &head(&[]), false).unwrap_err();
    assert!(
        error.contains("vmdk are not written to disks; raw, qcow2"),
        "{error}"
    );
    let qcow2 = head(&[(0, b"QFI\xfb")]);
    for (declared, is_inspected) in [(Some("qcow2"), true), (None, true), (None, false)] {
        assert_eq!(verdict(declared, &qcow2, is_inspected), Ok(Format::Qcow2));
    }
}

#[test]
fn partition_tables_that_lie_are_refused() {
    let sign: (usize, &[u8]) = (510, &[0x55, 0xaa]);
    let protective: &[u8] = &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 9, 0, 0, 0];
    assert_eq!(
        verdict(None, &head(&[(446, protective), sign]), true),
        Ok(Format::Gpt)
    );
    for (image, text) in [
        (head(&[sign]), "no partition"),
        (head(&[(446, &[0x12, 0, 0, 0, 0x83]), sign]), "boot flag"),
        (
            head(&[(446, protective), (466, &[0x83]), sign]),
            "other partitions",
        ),
        (head(&[(462, protective), sign]), "other partitions"),
        (head(&[(450, &[0xee]), sign]), "start at sector 1"),
    ] {
        let error = verdict(None, &image, true).unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn every_container_is_refused_by_the_rule_that_it_breaks() {
    let luks = |version: u8| head(&[(0, b"LUKS\xba\xbe\0"), (7, &[version])]);
    let vdi = head(&[(0x40, &[0x7f, 0x10, 0xda, 0xbe])]);
    let qed = head(&[(0, b"QED\0")]);
    let vmdk = head(&[(0, b"KDMV")]);
    let two = head(&[(0, b"vhdxfile"), (32769, b"NSR02")]);
    let all = ["raw", "gpt", "iso", "luks", "vmdk", "vdi", "vhdx", "qed"].map(str::to_owned);
    let few = ["raw"].map(str::to_owned);
    for (declared, image, permitted, said) in [
        // Permitted, but not a disk that is written from.
        (Some("vmdk"), &vmdk, &all[..], "format vmdk are not written"),
        (None, &vdi, &all, "format vdi are not written"),
        (None, &qed, &all, "format qed are not written"),
        // Not permitted, whatever is declared.
        (
            Some("vmdk"),
            &vmdk,
            &few,
            "Detected image format was vmdk, but only raw",
        ),
        (
            None,
            &vdi,
            &few,
            "Detected image format was vdi, but only raw",
        ),
        (None, &luks(1), &few, "Detected image format was luks"),
        (
            Some("unheard-of"),
            &vmdk,
            &all,
            "Expected format was unheard-of",
        ),
        // Not what it says.
        (
            Some("vhd"),
            &vdi,
            &all,
            "Expected format was vhd, but image was actually vdi",
        ),
        (
            Some("raw"),
            &vdi,
            &all,
            "Expected format was raw, but image was actually vdi",
        ),
        (
            Some("iso"),
            &luks(1),
            &all,
            "Expected format was iso, but image was actually luks",
        ),
        // Two things at once, or broken in itself.
        (None, &two, &all, "multiple potential formats: vhdx, iso"),
        (None, &luks(2), &all, "LUKS version is 2"),
    ] {
        let error = decide(declared, image, permitted, true).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let decided = |declared, image: &[u8], is_inspected| {
        decide(declared, image, &all, is_inspected).map_err(|error| error.to_string())
    };
    assert_eq!(decided(None, &luks(1), true), Ok(Format::Luks));
    // Without inspection the declaration alone counts, and what cannot be written is not.
    assert_eq!(decided(Some("luks"), &luks(2), false), Ok(Format::Luks));
    assert!(decided(Some("vmdk"), &luks(1), false).is_err());
    assert!(decided(Some("unheard-of"), &luks(1), false).is_err());
}

#[test]
fn a_fat_file_system_is_no_partition_table() {
    let fat = crate::machine::block::guarded_filesystem::tests::fat(*b"NO NAME    ");
    for medium in 0..=0xff {
        let mut fat = fat.clone();
        fat[0x15] = medium;
        // FAT has no such medium byte.
        let is_fat = matches!(medium, 0xf0 | 0xf8..);
        assert_eq!(sniff(&fat).is_empty(), is_fat, "{medium:#x}");
    }
    let mut partitioned = fat;
    partitioned[450] = 0x83;
    assert_eq!(sniff(&partitioned), [Format::Gpt]);
    // Boot code may have any bytes.
    let code = head(&[(0x10, &[2]), (0x15, &[0xf8]), (510, &[0x55, 0xaa])]);
    assert_eq!(sniff(&code), [Format::Gpt]);
}

#[test]
fn damaged_input() {
    let permitted = ["raw", "gpt", "iso", "luks", "qcow2", "vmdk"].map(str::to_owned);
    ironic_fuzz::run("format", |bytes| {
        for declared in [None, Some("raw"), Some("gpt"), Some("qcow2"), Some("iso")] {
            let decided = decide(declared, bytes, &permitted, true);
            // What is declared is never read as another container.
            if let (Some(declared), Ok(format)) = (declared, &decided) {
                let is_kept = format.name() == declared
                    || format.is_compression()
                    || (*format == Format::Raw && declared == "gpt");
                assert!(is_kept, "{declared} became {}", format.name());
            }
            let _ = decide(declared, bytes, &permitted, false);
        }
    });
}
