//! The proof that the bytes are the image: which digest is expected, computing it, and
//! [`Verified`], which nothing else makes.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::{Digest, DynDigest};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use thiserror::Error;

use super::request::{Checksums, is_url};
use crate::failure::{Failure, FailureKind};
use crate::system::memory::prefetch;

/// While so much is hashed, the next of that length is fetched.
const PIECE: usize = 4096;

/// The bytes that went through a [`Hasher`] have the expected digest. Whoever holds this may
/// let the disk boot.
#[derive(Debug)]
pub(super) struct Verified(());

/// A hash that image services use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [(Self, &'static str, usize); 6] = [
        (Self::Md5, "md5", 32),
        (Self::Sha1, "sha1", 40),
        (Self::Sha224, "sha224", 56),
        (Self::Sha256, "sha256", 64),
        (Self::Sha384, "sha384", 96),
        (Self::Sha512, "sha512", 128),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(algorithm, ..)| *algorithm)
    }

    /// The algorithm of a digest without a name. The Python agent knows these three.
    fn from_digits(digits: usize) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.row().2 == digits)
    }

    fn row(self) -> (Self, &'static str, usize) {
        Self::ALL[self as usize]
    }
}

/// What the digest must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    algorithm: Algorithm,
    /// Lower-case hexadecimal digits, as many as the algorithm has.
    digest: String,
}

/// The digest is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the digest is {found}, expected was {expected}")]
pub(super) struct Mismatch {
    pub(super) expected: String,
    pub(super) found: String,
}

/// Where the expected digest is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    /// It was given.
    Known(Expected),
    /// It stands in a checksum file; the algorithm is that of its length unless named.
    Listed {
        url: String,
        algorithm: Option<Algorithm>,
    },
}

/// Chooses among the checksums of a request: the named pair if its hash is known here, else
/// the checksum, whose length tells the hash.
pub(super) fn select(
    checksums: &Checksums,
    id: &str,
    md5_enabled: bool,
) -> Result<Selected, Failure> {
    let name = checksums.os_hash_algo.as_deref().unwrap_or_default();
    let named = Algorithm::from_name(name);
    if let (Some(algorithm), Some(value)) = (named, &checksums.os_hash_value) {
        return if is_url(value) {
            Ok(Selected::Listed {
                url: value.clone(),
                algorithm: Some(algorithm),
            })
        } else {
            expected(algorithm, value).map(Selected::Known)
        };
    }
    let Some(checksum) = &checksums.checksum else {
        return Err(Failure::new(
            FailureKind::Rest,
            format!(
                "Unable to verify image {id} with available checksums. Please make sure the \
                 specified 'os_hash_algo' ({name}) is supported by this ramdisk: md5, sha1, \
                 sha224, sha256, sha384 and sha512 are."
            ),
        ));
    };
    if is_url(checksum) {
        return Ok(Selected::Listed {
            url: checksum.clone(),
            algorithm: None,
        });
    }
    by_length(checksum, md5_enabled)
        .map(Selected::Known)
        .map_err(|reason| {
            Failure::new(
                FailureKind::Rest,
                format!(
                    "Unable to proceed with image {id} as the checksum indicator has been used \
                     but the algorithm could not be identified. Error: {reason}"
                ),
            )
        })
}

/// The expected digest of a checksum file's entry.
pub(super) fn listed(
    digest: &str,
    algorithm: Option<Algorithm>,
    md5_enabled: bool,
) -> Result<Expected, Failure> {
    match algorithm {
        Some(algorithm) => expected(algorithm, digest),
        None => {
            by_length(digest, md5_enabled).map_err(|reason| Failure::new(FailureKind::Rest, reason))
        }
    }
}

fn by_length(digest: &str, md5_enabled: bool) -> Result<Expected, String> {
    match Algorithm::from_digits(digest.len()) {
        Some(Algorithm::Md5) if !md5_enabled => Err(
            "MD5 support is disabled, use a SHA-256 or SHA-512 checksum, or enable option \
             md5_enabled"
                .to_owned(),
        ),
        Some(algorithm) => expected(algorithm, digest).map_err(|failure| failure.details),
        None => Err(format!(
            "a checksum of {} characters is neither MD5 (32), SHA-256 (64) nor SHA-512 (128)",
            digest.len()
        )),
    }
}

fn expected(algorithm: Algorithm, digest: &str) -> Result<Expected, Failure> {
    let (_, name, digits) = algorithm.row();
    if digest.len() != digits || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // It could never match, so nothing is downloaded for it.
        return Err(Failure::new(
            FailureKind::ImageChecksum,
            format!(
                "the expected checksum \"{digest}\" is no {name} digest of {digits} hexadecimal digits"
            ),
        ));
    }
    Ok(Expected {
        algorithm,
        digest: digest.to_ascii_lowercase(),
    })
}

/// Computes a digest.
pub(super) struct Hasher(Box<dyn DynDigest + Send>);

impl Hasher {
    pub(super) fn new(expected: &Expected) -> Self {
        Self(match expected.algorithm {
            Algorithm::Md5 => Box::new(Md5::new()),
            Algorithm::Sha1 => Box::new(Sha1::new()),
            Algorithm::Sha224 => Box::new(Sha224::new()),
            Algorithm::Sha256 => Box::new(Sha256::new()),
            Algorithm::Sha384 => Box::new(Sha384::new()),
            Algorithm::Sha512 => Box::new(Sha512::new()),
        })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            // The bytes come from another core: fetching them takes as long as hashing.
            if let Some(next) = pieces.peek() {
                prefetch(next);
            }
            self.0.update(piece);
        }
    }

    /// Ends the computation.
    pub(super) fn verify(self, expected: &Expected) -> Result<Verified, Mismatch> {
        let found = hex::encode(self.0.finalize());
        if found == expected.digest {
            Ok(Verified(()))
        } else {
            Err(Mismatch {
                expected: expected.digest.clone(),
                found,
            })
        }
    }
}

/// Finds the digest of `name` in a checksum file: either one bare digest, or lines as
/// `sha256sum` (`<digest>  name`, `<digest> *name`) or BSD (`SHA256 (name) = <digest>`)
/// print them.
pub(super) fn find_in_list(text: &str, name: &str) -> Result<String, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.as_slice() {
        [] => return Err("Empty checksum file".to_owned()),
        [line] if !line.contains(' ') => {
            return if is_digest(line) {
                Ok((*line).to_owned())
            } else {
                Err(format!(
                    "Invalid checksum file (No valid checksum found) ['{line}']"
                ))
            };
        }
        _ => {}
    }
    lines
        .iter()
        .filter(|line| !line.starts_with('#') && names(line, name))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let (first, last) = (words.next()?, words.next_back()?);
            [first, last].into_iter().find(|word| is_digest(word))
        })
        .map(str::to_owned)
        .ok_or_else(|| format!("Checksum file does not contain name {name}"))
}

/// Whether a line of a checksum file is about `name`.
fn names(line: &str, name: &str) -> bool {
    let at_end = line.strip_suffix(name).is_some_and(|before| {
        let before = before.strip_suffix('*').unwrap_or(before);
        before.ends_with(char::is_whitespace)
    });
    let in_parentheses = format!("({name})");
    at_end
        || line
            .split_whitespace()
            .skip(1)
            .any(|word| word == in_parentheses)
}

fn is_digest(word: &str) -> bool {
    Algorithm::from_digits(word.len()).is_some()
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The proof that nothing is nothing.
#[cfg(test)]
pub(super) fn verified() -> Verified {
    Verified(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksums(
        algorithm: Option<&str>,
        value: Option<&str>,
        checksum: Option<&str>,
    ) -> Checksums {
        Checksums {
            os_hash_algo: algorithm.map(str::to_owned),
            os_hash_value: value.map(str::to_owned),
            checksum: checksum.map(str::to_owned),
        }
    }

    fn known(algorithm: Algorithm, digest: &str) -> Selected {
        Selected::Known(Expected {
            algorithm,
            digest: digest.to_owned(),
        })
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        // FIPS 180 and RFC 1321 test vectors for "abc".
        for (name, digest) in [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "sha224",
                "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            ),
            (
                "sha256",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "sha384",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                "sha512",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let algorithm = Algorithm::from_name(name).unwrap();
            // Upper case is accepted, too.
            let expected = expected(algorithm, &digest.to_uppercase()).unwrap();
            let mut hasher = Hasher::new(&expected);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert!(hasher.verify(&expected).is_ok(), "{name}");
            let mut other = Hasher::new(&expected);
            other.update(b"abd");
            let mismatch = other.verify(&expected).unwrap_err();
            assert_eq!(mismatch.expected, digest);
            assert_ne!(mismatch.found, digest);
        }
    }

    #[test]
    fn the_named_pair_wins_then_the_checksum_by_its_length() {
        let (md5, sha256, sha512) = ("a".repeat(32), "b".repeat(64), "c".repeat(128));
        let cases = [
            (
                checksums(Some("sha256"), Some(&sha256), Some(&sha512)),
                Some(known(Algorithm::Sha256, &sha256)),
            ),
            (
                checksums(None, None, Some(&sha512)),
                Some(known(Algorithm::Sha512, &sha512)),
            ),
            (
                checksums(Some("whirlpool"), Some("x"), Some(&sha256)),
                Some(known(Algorithm::Sha256, &sha256)),
            ),
            // The switch rules unnamed checksums only, as in the Python agent.
            (
                checksums(Some("md5"), Some(&md5), None),
                Some(known(Algorithm::Md5, &md5)),
            ),
            (checksums(None, None, Some(&md5)), None),
            (checksums(Some("whirlpool"), Some("x"), None), None),
            (checksums(Some("sha512"), Some(&sha256), None), None),
            (
                checksums(Some("sha256"), Some("http://h/sums"), None),
                Some(Selected::Listed {
                    url: "http://h/sums".into(),
                    algorithm: Some(Algorithm::Sha256),
                }),
            ),
            (
                checksums(Some("whirlpool"), None, Some("https://h/sums")),
                Some(Selected::Listed {
                    url: "https://h/sums".into(),
                    algorithm: None,
                }),
            ),
        ];
        for (checksums, selected) in cases {
            assert_eq!(
                select(&checksums, "id", false).ok(),
                selected,
                "{checksums:?}"
            );
        }
        let md5_on = select(&checksums(None, None, Some(&md5)), "id", true);
        assert_eq!(md5_on, Ok(known(Algorithm::Md5, &md5)));
    }

    #[test]
    fn refusals_say_what_to_change() {
        let details = |checksums: Checksums| select(&checksums, "img", false).unwrap_err();
        let unknown = details(checksums(Some("sm3"), Some("x"), None));
        assert_eq!(unknown.kind, FailureKind::Rest);
        assert!(
            unknown
                .details
                .starts_with("Unable to verify image img with available checksums.")
        );
        assert!(unknown.details.contains("sm3"));
        let md5 = details(checksums(None, None, Some(&"a".repeat(32))));
        assert!(md5.details.contains("MD5 support is disabled"), "{md5}");
        let odd = details(checksums(None, None, Some("abc")));
        assert!(odd.details.contains("3 characters"), "{odd}");
    }

    #[test]
    fn checksum_files_of_all_layouts_are_read() {
        let (md5, sha256, sha512) = ("a".repeat(32), "b".repeat(64), "c".repeat(128));
        let no_name = Err("Checksum file does not contain name image.img".to_owned());
        let cases = [
            (md5.clone(), Ok(md5.clone())),
            (format!("\n {sha256}\n\n"), Ok(sha256.clone())),
            (
                format!("foobar  irrelevant file.img\n{md5}  image.img\n"),
                Ok(md5.clone()),
            ),
            (format!("{sha512} *image.img"), Ok(sha512)),
            (
                format!("# image.img: 1005593088 bytes\nMD5 (image.img) = {md5}"),
                Ok(md5.clone()),
            ),
            (
                format!("SHA256 (other.img) = {md5}\nSHA256 (image.img) = {sha256}"),
                Ok(sha256.clone()),
            ),
            (
                format!("{sha256}  other-image.img\n{md5}  imageXimg"),
                no_name.clone(),
            ),
            (format!("{md5} ./image.img\nimage.img {md5}"), no_name),
            ("  \n".to_owned(), Err("Empty checksum file".to_owned())),
            (
                "invalid".to_owned(),
                Err("Invalid checksum file (No valid checksum found) ['invalid']".to_owned()),
            ),
        ];
        for (text, digest) in cases {
            assert_eq!(find_in_list(&text, "image.img"), digest, "{text}");
        }
    }
}
