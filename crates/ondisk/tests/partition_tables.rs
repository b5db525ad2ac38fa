//! Our answers about partition tables beside those of `sfdisk`, `partx` (which is `libblkid`,
//! and follows the kernel), `parted` and `sgdisk`: on images that these programs make, and on
//! generated ones, most of which contradict themselves.
//!
//! The programs are in the directory that `TEST_PROGRAMS` names; `make unit` brings them.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; images are small"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ironic_ondisk::partition_table::decide::{GptDefect, TableDecision, decide};
use ironic_ondisk::partition_table::logical::Logical;
use ironic_ondisk::partition_table::mbr::MbrPartition;
use ironic_ondisk::partition_table::survey::survey;
use ironic_ondisk::size::{Geometry, MIB};

const SECTOR: u32 = 512;
const SIZE: u64 = 16 * MIB;
const SECTORS: u64 = SIZE / SECTOR as u64;

/// Number, first sector, number of sectors.
type Partition = (u32, u64, u64);

struct Programs(PathBuf);

impl Programs {
    /// `None` if the programs are not available.
    fn find() -> Option<Self> {
        support::programs().map(Self)
    }

    /// What a program prints on both of its outputs, whatever it answers.
    fn output(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(self.0.join(program))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut pipe = child.stdin.take().unwrap();
        // A program need not read.
        let _ = std::io::Write::write_all(&mut pipe, input.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The partitions that `libblkid` sees.
    fn partx(&self, image: &Path) -> BTreeSet<Partition> {
        let path = image.to_str().unwrap();
        let text = self.output("partx", &["-s", "-g", "-o", "NR,START,SECTORS", path], "");
        text.lines()
            .filter_map(|line| {
                let numbers: Vec<u64> = line
                    .split_whitespace()
                    .map_while(|word| word.parse().ok())
                    .collect();
                match numbers[..] {
                    [number, first, sectors] => Some((number as u32, first, sectors)),
                    _ => None,
                }
            })
            .collect()
    }

    /// The partitions that `sfdisk` dumps, without its entries of no length.
    fn sfdisk(&self, image: &Path) -> BTreeSet<Partition> {
        let path = image.to_str().unwrap();
        let text = self.output("sfdisk", &["-d", path], "");
        text.lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix(path)?.split_once(" : ")?;
                let field = |name: &str| {
                    let mut fields = rest.split(',');
                    let value = fields.find_map(|field| field.trim().strip_prefix(name));
                    value.unwrap().trim_start_matches(['=', ' ']).parse::<u64>()
                };
                let number = name.trim().parse().unwrap();
                Some((number, field("start").ok()?, field("size").ok()?))
            })
            .filter(|(.., sectors)| *sectors > 0)
            .collect()
    }

    /// The kind of table and the partitions that `parted` sees, `unknown` if it refuses.
    fn parted(&self, image: &Path) -> (String, BTreeSet<Partition>) {
        let path = image.to_str().unwrap();
        let text = self.output("parted", &["-s", "-m", path, "unit", "s", "print"], "");
        let mut kind = "unknown".to_owned();
        let mut found = BTreeSet::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if line.starts_with(path) && fields.len() > 5 {
                kind = fields[5].to_owned();
                continue;
            }
            let number = |at: usize| {
                let field = fields.get(at)?;
                field.trim_end_matches('s').parse::<u64>().ok()
            };
            if let (Some(index), Some(first), Some(sectors)) = (number(0), number(1), number(3)) {
                found.insert((index as u32, first, sectors));
            }
        }
        (kind, found)
    }

    /// The partitions of a GPT that `sgdisk` sees.
    fn sgdisk(&self, image: &Path) -> BTreeSet<Partition> {
        let text = self.output("sgdisk", &["-p", image.to_str().unwrap()], "");
        let lines = text.lines().skip_while(|line| !line.starts_with("Number"));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(|word| word.parse::<u64>().ok());
                let (number, first, last) = (words.next()??, words.next()??, words.next()??);
                Some((number as u32, first, last + 1 - first))
            })
            .collect()
    }
}

fn geometry(bytes: &[u8]) -> Geometry {
    Geometry {
        size: bytes.len() as u64,
        sector_size: SECTOR,
    }
}

fn of_mbr(entry: &MbrPartition) -> Partition {
    (entry.number, entry.first, entry.sectors)
}

/// What Linux makes partitions of, by our decision.
fn ours(bytes: &[u8]) -> (TableDecision, BTreeSet<Partition>) {
    let mut source = bytes;
    let decision = decide(&mut source, geometry(bytes)).unwrap();
    let found = match &decision {
        TableDecision::Gpt { table, .. } => table
            .partitions()
            .map(|found| (found.number, found.first, found.last + 1 - found.first))
            .collect(),
        TableDecision::Mbr(record) => {
            let logical = Logical::read(&mut source, record).unwrap();
            let all = record.partitions().chain(logical.partitions);
            all.map(|entry| of_mbr(&entry)).collect()
        }
        TableDecision::Repairable { .. } | TableDecision::Nothing(_) => BTreeSet::new(),
    };
    (decision, found)
}

/// What an image is deployed by, as `parted` names it.
fn judged(bytes: &[u8]) -> (&'static str, BTreeSet<Partition>) {
    let mut source = bytes;
    let refused = ("unknown", BTreeSet::new());
    match ours(bytes) {
        (TableDecision::Gpt { table, .. }, found) if table.check_fit().is_ok() => ("gpt", found),
        (TableDecision::Mbr(record), _) => {
            let logical = Logical::read(&mut source, &record).unwrap();
            if record.check().is_err() || logical.check(geometry(bytes)).is_err() {
                return refused;
            }
            let all = record.partitions().chain(logical.partitions);
            let typed = all.filter(MbrPartition::has_type);
            ("msdos", typed.map(|entry| of_mbr(&entry)).collect())
        }
        _ => refused,
    }
}

/// Every partition that any program shows is among those that are examined before erasing.
fn assert_surveyed(bytes: &[u8], shown: &BTreeSet<Partition>, what: &str) {
    let found = survey(&mut &*bytes, geometry(bytes)).unwrap();
    let starts: BTreeSet<u64> = found.claims.iter().map(|claim| claim.start).collect();
    for (_, first, _) in shown.iter().filter(|(_, first, _)| *first < SECTORS) {
        let start = first * u64::from(SECTOR);
        let is_protective = *first == 1;
        assert!(is_protective || starts.contains(&start), "{what}: {first}");
    }
}

/// A new image in a directory of its own.
struct Image(tempfile::TempDir);

impl Image {
    fn new() -> Self {
        let image = Self(tempfile::tempdir().unwrap());
        image.write(&vec![0; SIZE as usize]);
        image
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("image")
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }
}

/// Scripts for `sfdisk`: partitions of both kinds, logical ones in any order.
fn scripts() -> Vec<String> {
    let mut scripts = Vec::new();
    for kind in ["dos", "gpt"] {
        let types = match kind {
            "dos" => ["83", "82", "c", "fb"],
            _ => ["L", "S", "U", "R"],
        };
        for count in 1..=4 {
            for order in 0..3 {
                let mut lines: Vec<String> = (0..count)
                    .map(|index| {
                        let start = 2048 + index * 6000 + order * 7;
                        format!("start={start},size=5000,type={}", types[index as usize])
                    })
                    .collect();
                lines.rotate_left(order as usize % count as usize);
                scripts.push(format!("label: {kind}\n{}\n", lines.join("\n")));
            }
        }
    }
    for order in [
        &[1, 2, 3][..],
        &[3, 2, 1],
        &[2, 1, 3],
        &[3, 1, 2],
        &[1, 3, 2],
        &[4, 2, 5, 1, 3],
        &[5, 4, 3, 2, 1],
        &[1, 2, 3, 4, 5],
    ] {
        for kind in ["5", "f", "85"] {
            let logical: Vec<String> = order
                .iter()
                .map(|place| format!("start={},size=1500,type=83", 2048 + place * 4000))
                .collect();
            scripts.push(format!(
                "label: dos\nstart=2048,size=30000,type={kind}\n{}\n",
                logical.join("\n")
            ));
        }
    }
    for length in [4, 16, 128, 200, 1024, 4096] {
        scripts.push(format!(
            "label: gpt\ntable-length: {length}\n1: start=4096,size=2000\n{length}: start=8192,size=2000\n"
        ));
    }
    scripts
}

#[test]
fn images_of_the_real_programs_are_read_as_they_read_them() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let mut made = 0;
    let mut compare = |image: &Image, what: &str, is_gpt: bool| {
        let bytes = image.read();
        let (decision, found) = ours(&bytes);
        assert!(!found.is_empty(), "{what}: {decision:?}");
        let path = image.path();
        assert_eq!(found, programs.sfdisk(&path), "sfdisk: {what}");
        assert_eq!(found, programs.partx(&path), "partx: {what}");
        let (kind, shown) = programs.parted(&path);
        assert_eq!(
            (kind.as_str(), &shown),
            (judged(&bytes).0, &found),
            "{what}"
        );
        if is_gpt {
            assert_eq!(found, programs.sgdisk(&path), "sgdisk: {what}");
        }
        assert_surveyed(&bytes, &found, what);
        made += 1;
    };
    for script in scripts() {
        let image = Image::new();
        let path = image.path();
        let arguments = ["-q", path.to_str().unwrap()];
        let said = programs.output("sfdisk", &arguments, &script);
        let is_gpt = script.contains("label: gpt");
        compare(&image, &format!("{script}{said}"), is_gpt);
    }
    for (count, step) in [(1, 3000), (2, 2500), (3, 2048), (5, 4096), (7, 3333)] {
        let image = Image::new();
        let path = image.path();
        let mut arguments = Vec::new();
        for index in 0..count {
            let first = 2048 + index * step;
            arguments.push("-n".to_owned());
            arguments.push(format!("{}:{first}:{}", index * 3 + 1, first + 1000));
        }
        arguments.push(path.to_str().unwrap().to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        programs.output("sgdisk", &arguments, "");
        compare(&image, &format!("sgdisk {arguments:?}"), true);
    }
    for kind in ["msdos", "gpt"] {
        for count in 1..=3 {
            let image = Image::new();
            let path = image.path();
            let mut arguments = vec!["-s".to_owned(), path.to_str().unwrap().to_owned()];
            arguments.extend(["mklabel".to_owned(), kind.to_owned()]);
            for index in 0..count {
                let first = 2048 + index * 8192;
                let name = if kind == "gpt" { "name" } else { "primary" };
                let words = [
                    "mkpart",
                    name,
                    &format!("{first}s"),
                    &format!("{}s", first + 4095),
                ]
                .map(str::to_owned);
                arguments.extend(words);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            programs.output("parted", &arguments, "");
            compare(&image, &format!("parted {arguments:?}"), kind == "gpt");
        }
    }
    println!("{made} images");
    assert!(made >= 60, "{made}");
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

fn put_entry(bytes: &mut [u8], at: u64, index: usize, (kind, first, sectors): (u8, u32, u32)) {
    let sector = at as usize * 512;
    let entry = sector + 446 + 16 * index;
    bytes[entry..entry + 8].copy_from_slice(&[0, 0xfe, 0xff, 0xff, kind, 0xfe, 0xff, 0xff]);
    bytes[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
    bytes[entry + 12..entry + 16].copy_from_slice(&sectors.to_le_bytes());
    bytes[sector + 510..sector + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// An MBR whose primary and logical partitions are mostly possible and sometimes not.
fn generated_mbr(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    // Others may hold tables of other systems, of which the programs know different ones.
    let kinds = [0x83, 0x83, 0x83, 0x07, 0x8e, 0];
    let starts = [1, 63, 2048, 4000, 8000, 12_000, 16_000, 20_000, 0, 40_000];
    let lengths = [500, 1000, 2000, 3000, 3900, 0, 30_000];
    for index in 0..random.below(4) as usize {
        let entry = (
            random.one_of(&kinds),
            random.one_of(&starts),
            random.one_of(&lengths),
        );
        put_entry(&mut bytes, 0, index, entry);
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    if random.below(2) == 0 {
        let base = random.one_of(&[21_000, 23_000]);
        put_entry(&mut bytes, 0, 3, (0x05, base, 8000));
        let mut at = u64::from(base);
        let mut places = vec![1000_u64, 2000, 3000, 4000, 5000];
        for _ in 0..=random.below(4) {
            let first = random.one_of(&[2, 63, 100]);
            let sectors = random.one_of(&[100, 500, 800, 800, 8000]);
            put_entry(&mut bytes, at, 0, (0x83, first, sectors));
            if random.below(3) == 0 {
                break;
            }
            let next = places.remove(random.below(places.len() as u64) as usize);
            put_entry(&mut bytes, at, 1, (0x05, next as u32, 900));
            at = u64::from(base) + next;
            // Else the chain leads to nothing.
            if random.below(12) == 0 {
                return bytes;
            }
            if random.below(12) > 0 {
                bytes[at as usize * 512 + 510..at as usize * 512 + 512]
                    .copy_from_slice(&[0x55, 0xaa]);
            }
        }
    }
    bytes
}

#[test]
fn generated_mbr_tables_are_seen_and_refused_as_the_programs_do() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let image = Image::new();
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..250 {
        let bytes = generated_mbr(&mut Random(number));
        image.write(&bytes);
        let path = image.path();
        let (decision, found) = ours(&bytes);
        let what = format!("image {number}: {decision:?}");
        let shown = programs.partx(&path);
        assert_eq!(found, shown, "partx, {what}");
        assert_surveyed(&bytes, &shown, &what);
        let (kind, shown) = programs.parted(&path);
        let (own, expected) = judged(&bytes);
        assert_eq!((own, &expected), (kind.as_str(), &shown), "parted, {what}");
        *(if own == "unknown" {
            &mut refused
        } else {
            &mut accepted
        }) += 1;
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 30 && refused > 30, "{accepted} {refused}");
}

#[test]
fn generated_gpts_are_seen_and_refused_as_the_programs_do() {
    use ironic_ondisk::partition_table::testing::{Shape, gpt, mbr};
    let Some(programs) = Programs::find() else {
        return;
    };
    let image = Image::new();
    let mut kinds = BTreeSet::new();
    for number in 0..150 {
        let mut random = Random(1000 + number);
        let shape = Shape {
            header: random.one_of(&[92, 92, 128, 512]),
            count: random.one_of(&[128, 128, 16, 1024, 4096]),
            is_announced: random.below(6) > 0,
            primary: random.below(4) > 0,
            backup: random.below(4) > 0,
            ..Shape::default()
        };
        let mut partitions = Vec::new();
        for index in 0..1 + random.below(4) {
            let first = 2048 + index * 5000;
            let length = random.one_of(&[1000, 3000, 4900, 4900, 6000]);
            partitions.push((index as u32 + 1, first, first + length));
        }
        let mut bytes = gpt(SIZE, shape, &partitions);
        match random.below(6) {
            0 => mbr(&mut bytes, 0, &[(0x83, 2048, 2000)]),
            1 => mbr(&mut bytes, 0, &[(0xee, 1, 2047), (0x83, 3000, 2000)]),
            _ => {}
        }
        image.write(&bytes);
        let path = image.path();
        let (decision, found) = ours(&bytes);
        let what = format!("image {number}: {shape:?} {partitions:?} {decision:?}");
        let shown = programs.partx(&path);
        assert_eq!(found, shown, "partx, {what}");
        assert_surveyed(&bytes, &shown, &what);
        let (kind, shown) = programs.parted(&path);
        let (own, expected) = judged(&bytes);
        assert_eq!((own, &expected), (kind.as_str(), &shown), "parted, {what}");
        // What can be repaired is what sgdisk repairs.
        let by_sgdisk = programs.sgdisk(&path);
        if let TableDecision::Repairable { table, flaw, .. } = &decision {
            assert_eq!(*flaw, GptDefect::Unannounced, "{what}");
            let firsts: BTreeSet<u64> = table.partitions().map(|found| found.first).collect();
            let shown: BTreeSet<u64> = by_sgdisk.iter().map(|found| found.1).collect();
            assert_eq!(firsts, shown, "sgdisk, {what}");
            kinds.insert("repairable");
        }
        kinds.insert(own);
    }
    assert_eq!(
        kinds,
        BTreeSet::from(["gpt", "msdos", "repairable", "unknown"])
    );
}
