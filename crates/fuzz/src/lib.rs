//! Damaged input for parsers, for tests: the files of a corpus, damaged at random but the same
//! way every time.
//!
//! Whatever reads bytes from outside has a test `damaged_input` that
//! calls [`run`]. In `cargo test` each takes about a second; `make fuzz` gives it
//! `FUZZ_SECONDS` and another `FUZZ_SEED`. A case that fails is named by its seed and number,
//! which bring it back (`FUZZ_SEED=1 FUZZ_CASE=2`), and belongs into the corpus as a file.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "for tests: random numbers are cut to size, real time is measured, and what fails ends the test"
)]

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Cases that run however slow the machine is.
const MIN_CASES: u64 = 50;
/// No input is longer, in bytes.
const MAX_INPUT_BYTES: usize = 1 << 20;
/// A case that takes longer has found an endless loop.
const ENDLESS: Duration = Duration::from_secs(120);
/// Where headers are.
const HEAD: usize = 1024;

/// Feeds `parse` with every file of `corpus/<name>` as it is, and then damaged, until the time
/// is over. It must come back from each, whatever it answers.
pub fn run(corpus: &str, parse: impl FnMut(&[u8])) {
    run_on(corpus, &read(corpus), parse);
}

/// The same with files that are not in the corpus as they are: what is packed there is damaged
/// unpacked.
pub fn run_on(corpus: &str, files: &[Vec<u8>], mut parse: impl FnMut(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds: u64 = number("FUZZ_SECONDS").unwrap_or(1);
    let seed: u64 = number("FUZZ_SEED").unwrap_or(0);
    let only: Option<u64> = number("FUZZ_CASE");

    let current = Arc::new(AtomicU64::new(0));
    let watched = watch(corpus.to_owned(), seed, Arc::clone(&current));
    let started = Instant::now();
    let mut case = only.unwrap_or(0);
    loop {
        current.store(case, Ordering::Relaxed);
        let input = match usize::try_from(case).ok().and_then(|at| files.get(at)) {
            Some(file) => file.clone(),
            None => damaged(files, seed, case),
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| parse(&input))) {
            eprintln!("corpus {corpus}: FUZZ_SEED={seed} FUZZ_CASE={case} fails");
            resume_unwind(panic);
        }
        case += 1;
        let is_enough = case >= MIN_CASES + files.len() as u64
            && started.elapsed() >= Duration::from_secs(seconds);
        if only.is_some() || is_enough {
            break;
        }
    }
    drop(watched);
    println!(
        "corpus {corpus}: {case} cases in {:.1} s",
        started.elapsed().as_secs_f64()
    );
}

/// The files of a corpus that are packed by gzip, unpacked.
pub fn unpacked(corpus: &str) -> Vec<Vec<u8>> {
    let unpack = |packed: &Vec<u8>| {
        let mut file = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(packed.as_slice());
        decoder.read_to_end(&mut file).unwrap();
        file
    };
    read(corpus).iter().map(unpack).collect()
}

/// Ends the process when the case does not change for too long. Nothing else could end a loop.
fn watch(corpus: String, seed: u64, current: Arc<AtomicU64>) -> std::sync::mpsc::Sender<()> {
    let (alive, gone) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut before = None;
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = gone.recv_timeout(ENDLESS) {
            let case = current.load(Ordering::Relaxed);
            if before == Some(case) {
                eprintln!("corpus {corpus}: FUZZ_SEED={seed} FUZZ_CASE={case} does not end");
                std::process::abort();
            }
            before = Some(case);
        }
    });
    alive
}

fn read(corpus: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(corpus);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let files: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

fn damaged(files: &[Vec<u8>], seed: u64, case: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ case);
    let mut bytes = files[random.below(files.len())].clone();
    for _ in 0..=random.below(6) {
        damage(&mut bytes, files, &mut random);
    }
    bytes.truncate(MAX_INPUT_BYTES);
    bytes
}

fn damage(bytes: &mut Vec<u8>, files: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&files[random.below(files.len())]);
        bytes.push(0);
    }
    let length = bytes.len();
    let reach = if random.below(2) == 0 {
        length
    } else {
        length.min(HEAD)
    };
    // Zeros are mostly padding; damage where something stands is more telling.
    let mut at = random.below(reach);
    for _ in 0..8 {
        if bytes[at] != 0 {
            break;
        }
        at = random.below(reach);
    }
    let count = 1 + random.below((length - at).min(64));
    match random.below(10) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3..=5 => {
            let number = random.interesting();
            let width = [1, 2, 4, 8][random.below(4)].min(length - at);
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let digits = if random.below(2) == 0 {
                &little[..width]
            } else {
                &big[8 - width..]
            };
            bytes[at..at + width].copy_from_slice(digits);
        }
        6 => {
            bytes.drain(at..at + count);
        }
        7 => {
            let copy = bytes[at..at + count].to_vec();
            bytes.splice(at..at, copy);
        }
        8 => bytes.truncate(at),
        _ => {
            let other = &files[random.below(files.len())];
            if !other.is_empty() {
                let from = random.below(other.len());
                let to = other.len().min(from + count);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

/// SplitMix64: every state is a good one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit` - 1; 0 when `limit` is 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % (limit.max(1) as u64)) as usize
    }

    /// Numbers at which arithmetic goes wrong: around powers of two and their negatives.
    fn interesting(&mut self) -> u64 {
        let power = 1_u64 << self.below(64);
        let near = (self.below(5) as u64).wrapping_sub(2);
        match self.below(4) {
            0 => near,
            1 => power.wrapping_add(near),
            2 => power.wrapping_neg().wrapping_add(near),
            _ => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_the_same_every_time_and_different_every_time() {
        let files = [b"a first file".to_vec(), vec![7; 5000]];
        let all = |seed| {
            (0..200)
                .map(|case| damaged(&files, seed, case))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let mut different = all(1);
        different.sort();
        different.dedup();
        assert!(different.len() > 150, "{}", different.len());
    }

    #[test]
    fn a_parser_that_fails_is_found() {
        let found = catch_unwind(|| {
            run("checksum", |bytes| assert!(bytes.len() < 64, "too long"));
        });
        assert!(found.is_err());
    }
}
