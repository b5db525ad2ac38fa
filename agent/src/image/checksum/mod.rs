//! The proof that the bytes are the image: which digest is expected, computing it, and
//! [`Verified`], which nothing else makes.

use std::borrow::Cow;

use md5::Md5;
use sha1::Sha1;
use sha2::digest::{Digest, DynDigest};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use thiserror::Error;

mod expected;

pub(super) use expected::expected;

use super::request::{Checksums, is_url};
use crate::failure::{Failure, FailureKind};
use crate::system::memory::prefetch;

/// While so much is hashed, the next of that length is fetched.
const PIECE: usize = 4096;

const MD5_DISABLED: &str =
    "MD5 support is disabled, use a SHA-256 or SHA-512 checksum, or enable option md5_enabled";

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
    Sha512Over224,
    Sha512Over256,
}

impl Algorithm {
    /// The algorithm, its name without punctuation, and the digest's hexadecimal digits.
    const ALL: [(Self, &'static str, usize); 8] = [
        (Self::Md5, "md5", 32),
        (Self::Sha1, "sha1", 40),
        (Self::Sha224, "sha224", 56),
        (Self::Sha256, "sha256", 64),
        (Self::Sha384, "sha384", 96),
        (Self::Sha512, "sha512", 128),
        (Self::Sha512Over224, "sha512224", 56),
        (Self::Sha512Over256, "sha512256", 64),
    ];

    /// By a name of Python's hashlib or of OpenSSL: `sha256`, `SHA-256`, `SHA2-256`,
    /// `sha512_256`, `SHA512/256`. What else those know (SHA-3, BLAKE2, SM3, RIPEMD) is not
    /// what images come with.
    fn from_name(name: &str) -> Option<Self> {
        let plain = name.to_ascii_lowercase().replace("sha2-", "sha");
        let plain = plain.replace(['-', '_', '/'], "");
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == plain)
            .map(|(algorithm, ..)| *algorithm)
    }

    /// The algorithm of a digest without a name. The Python agent knows these three.
    fn from_digits(digits: usize) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.row().2 == digits)
    }

    fn hash(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Md5 => Box::new(Md5::new()),
            Self::Sha1 => Box::new(Sha1::new()),
            Self::Sha224 => Box::new(Sha224::new()),
            Self::Sha256 => Box::new(Sha256::new()),
            Self::Sha384 => Box::new(Sha384::new()),
            Self::Sha512 => Box::new(Sha512::new()),
            Self::Sha512Over224 => Box::new(Sha512_224::new()),
            Self::Sha512Over256 => Box::new(Sha512_256::new()),
        }
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
    /// Another digest that it must have, too.
    also: Option<Box<Expected>>,
}

impl Expected {
    /// The digest by which a registry names a blob, `sha256:<digits>`.
    pub(super) fn of_blob(digest: &str) -> Result<Self, Failure> {
        let (name, digits) = digest.split_once(':').unwrap_or((digest, ""));
        match Algorithm::from_name(name) {
            Some(algorithm) => digest_of(algorithm, digits),
            None => Err(Failure::new(
                FailureKind::ImageChecksum,
                format!("the registry names the image by a hash ({name}) that is not known here"),
            )),
        }
    }

    /// Both must hold.
    pub(super) fn and(mut self, other: Self) -> Result<Self, Failure> {
        if self.algorithm == other.algorithm {
            return if self.digest == other.digest {
                Ok(self)
            } else {
                Err(Failure::new(
                    FailureKind::ImageChecksum,
                    format!(
                        "the expected checksum is {}, but the registry names the image {}",
                        self.digest, other.digest
                    ),
                ))
            };
        }
        self.also = Some(Box::new(other));
        Ok(self)
    }
}

/// Whether a registry's name of a document (`sha256:<digits>`) is that of these bytes. This
/// proves nothing about a disk.
pub(super) fn is_digest_of(name: &str, bytes: &[u8]) -> bool {
    Expected::of_blob(name).is_ok_and(|expected| {
        let mut hasher = Hasher::new(&expected);
        hasher.update(bytes);
        hasher.verify(&expected).is_ok()
    })
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
    let is_refused = named == Some(Algorithm::Md5) && !md5_enabled;
    if let (Some(algorithm), Some(value)) = (named, &checksums.os_hash_value)
        && !is_refused
    {
        return if is_url(value) {
            Ok(Selected::Listed {
                url: value.clone(),
                algorithm: Some(algorithm),
            })
        } else {
            digest_of(algorithm, value).map(Selected::Known)
        };
    }
    let Some(checksum) = &checksums.checksum else {
        let why = if is_refused {
            MD5_DISABLED
        } else {
            "md5, sha1, sha224, sha256, sha384, sha512, sha512_224 and sha512_256 are."
        };
        return Err(Failure::new(
            FailureKind::Rest,
            format!(
                "Unable to verify image {id} with available checksums. Please make sure the \
                 specified 'os_hash_algo' ({name}) is supported by this ramdisk: {why}"
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
        Some(algorithm) => digest_of(algorithm, digest),
        None => {
            by_length(digest, md5_enabled).map_err(|reason| Failure::new(FailureKind::Rest, reason))
        }
    }
}

fn by_length(digest: &str, md5_enabled: bool) -> Result<Expected, String> {
    match Algorithm::from_digits(digest.len()) {
        Some(Algorithm::Md5) if !md5_enabled => Err(MD5_DISABLED.to_owned()),
        Some(algorithm) => digest_of(algorithm, digest).map_err(|failure| failure.details),
        None => Err(format!(
            "a checksum of {} characters is neither MD5 (32), SHA-256 (64) nor SHA-512 (128)",
            digest.len()
        )),
    }
}

fn digest_of(algorithm: Algorithm, digest: &str) -> Result<Expected, Failure> {
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
        also: None,
    })
}

/// Computes the digests that are expected.
pub(super) struct Hasher(Vec<Box<dyn DynDigest + Send>>);

impl Hasher {
    pub(super) fn new(expected: &Expected) -> Self {
        let mut hashes = Vec::new();
        let mut next = Some(expected);
        while let Some(expected) = next {
            hashes.push(expected.algorithm.hash());
            next = expected.also.as_deref();
        }
        Self(hashes)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            // The bytes come from another core: fetching them takes as long as hashing.
            if let Some(next) = pieces.peek() {
                prefetch(next);
            }
            for hash in &mut self.0 {
                hash.update(piece);
            }
        }
    }

    /// Ends the computation. `expected` is what the computation was begun for.
    pub(super) fn verify(self, expected: &Expected) -> Result<Verified, Mismatch> {
        let mut next = Some(expected);
        for hash in self.0 {
            let found = hex::encode(hash.finalize());
            let digest = next.map(|expected| &expected.digest);
            if digest != Some(&found) {
                return Err(Mismatch {
                    expected: digest.cloned().unwrap_or_default(),
                    found,
                });
            }
            next = next.and_then(|expected| expected.also.as_deref());
        }
        match next {
            None => Ok(Verified(())),
            Some(unproved) => Err(Mismatch {
                expected: unproved.digest.clone(),
                found: String::new(),
            }),
        }
    }
}

/// Finds the digest of one of `names` in a checksum file: either one bare digest, or lines as
/// `sha256sum` (`<digest>  name`, `<digest> *name`), BSD (`SHA256 (name) = <digest>`) or
/// `openssl dgst` (`SHA2-256(name)= <digest>`) print them. Mirrors may name the image
/// differently: the first name that is listed counts.
///
/// Of several digests of one image the first is taken that `algorithm` makes, or when none
/// is named, the first that may be used.
pub(super) fn find_in_list(
    text: &str,
    names: &[&str],
    algorithm: Option<Algorithm>,
    md5_enabled: bool,
) -> Result<String, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.as_slice() {
        [] => return Err("Empty checksum file".to_owned()),
        [line] if !line.contains(' ') => {
            return if is_digest(line, algorithm) {
                Ok((*line).to_owned())
            } else {
                Err(format!(
                    "Invalid checksum file (No valid checksum found) ['{line}']"
                ))
            };
        }
        _ => {}
    }
    let entries: Vec<Entry> = lines
        .iter()
        .filter_map(|line| Entry::parse(line, algorithm))
        .collect();
    let listed = |name: &&str| {
        let about = || entries.iter().filter(|entry| entry.name == *name);
        let is_usable = |entry: &&Entry| {
            let made_by = Algorithm::from_digits(entry.digest.len());
            match algorithm {
                Some(algorithm) => algorithm.row().2 == entry.digest.len(),
                None => md5_enabled || made_by != Some(Algorithm::Md5),
            }
        };
        let entry = about().find(is_usable).or_else(|| about().next())?;
        Some(entry.digest.to_owned())
    };
    names.iter().find_map(listed).ok_or_else(|| {
        let mut names = names.to_vec();
        names.dedup();
        format!("Checksum file does not contain name {}", names.join(", "))
    })
}

/// One line of a checksum file.
struct Entry<'a> {
    digest: &'a str,
    /// Without `./`.
    name: Cow<'a, str>,
}

impl<'a> Entry<'a> {
    /// `None` for comments, and for digests that are of no use to `wanted`.
    fn parse(line: &'a str, wanted: Option<Algorithm>) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (digest, name) = Self::tagged(line, wanted).or_else(|| Self::plain(line))?;
        let name = match name {
            Cow::Borrowed(name) => Cow::Borrowed(bare(name)),
            Cow::Owned(name) => Cow::Owned(bare(&name).to_owned()),
        };
        is_digest(digest, wanted).then_some(Self { digest, name })
    }

    /// `SHA256 (name) = <digest>` of BSD and `sha256sum --tag`, `SHA2-256(name)= <digest>` of
    /// OpenSSL. The name may hold blanks and parentheses.
    fn tagged(line: &'a str, wanted: Option<Algorithm>) -> Option<(&'a str, Cow<'a, str>)> {
        let (head, digest) = line.rsplit_once('=')?;
        let (made_by, name) = head.trim_end().strip_suffix(')')?.split_once('(')?;
        let (is_escaped, made_by) = escaped(made_by);
        let made_by = Algorithm::from_name(made_by.trim_end())?;
        // Another hash may have as many digits; without a name the digits tell the hash.
        let is_meant = wanted.map_or_else(
            || Algorithm::from_digits(made_by.row().2) == Some(made_by),
            |wanted| wanted == made_by,
        );
        is_meant.then(|| (digest.trim_start(), unescape(name, is_escaped)))
    }

    /// `<digest>  name` and `<digest> *name`.
    fn plain(line: &'a str) -> Option<(&'a str, Cow<'a, str>)> {
        let (is_escaped, line) = escaped(line);
        let (digest, name) = line.split_once(char::is_whitespace)?;
        let name = name.trim_start();
        let name = name.strip_prefix('*').unwrap_or(name);
        Some((digest, unescape(name, is_escaped)))
    }
}

/// The GNU tools begin a line with a backslash where the name in it is escaped.
fn escaped(line: &str) -> (bool, &str) {
    line.strip_prefix('\\')
        .map_or((false, line), |line| (true, line))
}

/// A name as the GNU tools write one that holds a backslash or a line break.
fn unescape(name: &str, is_escaped: bool) -> Cow<'_, str> {
    if !is_escaped {
        return Cow::Borrowed(name);
    }
    let mut plain = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        plain.push(match (character, rest.as_str().chars().next()) {
            ('\\', Some(code @ ('n' | 'r' | '\\'))) => {
                rest.next();
                match code {
                    'n' => '\n',
                    'r' => '\r',
                    _ => '\\',
                }
            }
            _ => character,
        });
    }
    Cow::Owned(plain)
}

/// A name as `sha256sum ./*` writes it, without what stands for this directory.
fn bare(name: &str) -> &str {
    name.trim_start_matches("./")
}

fn is_digest(word: &str, algorithm: Option<Algorithm>) -> bool {
    let is_named = algorithm.is_some_and(|algorithm| algorithm.row().2 == word.len());
    (is_named || Algorithm::from_digits(word.len()).is_some())
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
            also: None,
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
            let expected = digest_of(algorithm, &digest.to_uppercase()).unwrap();
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
            // The switch rules the pair, too; what is better is taken.
            (checksums(Some("md5"), Some(&md5), None), None),
            (
                checksums(Some("md5"), Some(&md5), Some(&sha256)),
                Some(known(Algorithm::Sha256, &sha256)),
            ),
            (
                checksums(Some("SHA-512/256"), Some(&sha256), None),
                Some(known(Algorithm::Sha512Over256, &sha256)),
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
        for allowed in [
            checksums(None, None, Some(&md5)),
            checksums(Some("md5"), Some(&md5), None),
        ] {
            let selected = select(&allowed, "id", true);
            assert_eq!(selected, Ok(known(Algorithm::Md5, &md5)));
        }
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
        let pair = details(checksums(Some("md5"), Some(&"a".repeat(32)), None));
        assert!(pair.details.contains("MD5 support is disabled"), "{pair}");
        let odd = details(checksums(None, None, Some("abc")));
        assert!(odd.details.contains("3 characters"), "{odd}");
    }

    #[test]
    fn a_hash_has_many_names() {
        for (name, algorithm) in [
            ("sha256", Some(Algorithm::Sha256)),
            ("SHA256", Some(Algorithm::Sha256)),
            ("SHA-256", Some(Algorithm::Sha256)),
            ("SHA2-256", Some(Algorithm::Sha256)),
            ("SHA2-512/256", Some(Algorithm::Sha512Over256)),
            ("sha512_224", Some(Algorithm::Sha512Over224)),
            ("md5", Some(Algorithm::Md5)),
            ("sha1", Some(Algorithm::Sha1)),
            ("sha3_256", None),
            ("blake2b", None),
            ("shake_128", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::from_name(name), algorithm, "{name}");
        }
        for (algorithm, _, digits) in Algorithm::ALL {
            assert_eq!(algorithm.hash().output_size() * 2, digits);
            assert_eq!(algorithm.row().0, algorithm);
        }
    }

    #[test]
    fn two_digests_must_both_hold() {
        let of = |name: &str, digits: &str| Expected::of_blob(&format!("{name}:{digits}")).unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        let wrong = "b".repeat(40);
        for (second, is_right) in [(sha1, true), (wrong.as_str(), false)] {
            for (first, other) in [
                (of("sha256", sha256), of("sha1", second)),
                (of("sha1", second), of("sha256", sha256)),
            ] {
                let both = first.and(other).unwrap();
                let mut hasher = Hasher::new(&both);
                hasher.update(b"abc");
                assert_eq!(hasher.verify(&both).is_ok(), is_right);
            }
        }
        // One hash needs no second computation, and two of its digests are a contradiction.
        let same = of("sha256", sha256).and(of("sha256", sha256)).unwrap();
        assert_eq!(same.also, None);
        assert!(of("sha1", sha1).and(of("sha1", &wrong)).is_err());
        // A proof of less than what is expected is none.
        let both = of("sha256", sha256).and(of("sha1", sha1)).unwrap();
        let mut hasher = Hasher::new(&of("sha256", sha256));
        hasher.update(b"abc");
        assert!(hasher.verify(&both).is_err());
        assert!(Expected::of_blob("blake3:00").is_err());
        assert!(is_digest_of(&format!("sha256:{sha256}"), b"abc"));
        assert!(!is_digest_of(&format!("sha256:{sha256}"), b"abd"));
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
            (format!("image.img {md5}\n{md5}  ../image.img"), no_name),
            (format!("{md5}  ./image.img\n"), Ok(md5.clone())),
            // Several digests of one image: the first that may be used.
            (
                format!("MD5 (image.img) = {md5}\nSHA256 (image.img) = {sha256}"),
                Ok(sha256),
            ),
            ("  \n".to_owned(), Err("Empty checksum file".to_owned())),
            (
                "invalid".to_owned(),
                Err("Invalid checksum file (No valid checksum found) ['invalid']".to_owned()),
            ),
        ];
        for (text, digest) in cases {
            let found = find_in_list(&text, &["image.img"], None, false);
            assert_eq!(found, digest, "{text}");
        }
        // Names as the tools write them; each line after one about another file.
        let sha256 = "b".repeat(64);
        for (line, name) in [
            ("SHA256 (my image.raw) = D", "my image.raw"),
            ("SHA256 (./image.raw) = D", "image.raw"),
            ("SHA2-256(image.raw)= D", "image.raw"),
            ("SHA256(my (1) image.raw)= D", "my (1) image.raw"),
            ("D  my image.raw", "my image.raw"),
            ("D *./my image.raw", "my image.raw"),
            ("D image.raw", "image.raw"),
            ("\\D  a\\\\b\\nc.raw", "a\\b\nc.raw"),
            ("\\SHA256 (a\\\\b.raw) = D", "a\\b.raw"),
        ] {
            let digest = "a".repeat(64);
            let text = format!(
                "{digest}  x\n{digest}  xx{name}\n{}\n",
                line.replace('D', &sha256)
            );
            let found = find_in_list(&text, &[name], None, false);
            assert_eq!(found.as_ref(), Ok(&sha256), "{line}");
        }
        // A name's end is not a name, and another hash of 64 digits is not SHA-256.
        for line in [
            "D  my image.raw",
            "SHA256 (my image.raw) = D",
            "SHA256 (image.raw) (1) = D",
            "SHA3-256 (image.raw) = D",
            "BLAKE2s(image.raw)= D",
            "SHA512/256 (image.raw) = D",
        ] {
            let text = format!("{}\n", line.replace('D', &sha256));
            let found = find_in_list(&text, &["image.raw"], None, false);
            assert!(found.is_err(), "{line}");
        }
        let (sha1, sha384) = ("d".repeat(40), "e".repeat(96));
        let list =
            format!("SHA1 (b.img) = {sha1}\nMD5 (b.img) = {md5}\nSHA384 (b.img) = {sha384}\n");
        for (algorithm, digest) in [
            (Some(Algorithm::Sha1), &sha1),
            (Some(Algorithm::Sha384), &sha384),
            (None, &md5),
        ] {
            let found = find_in_list(&list, &["a.img", "b.img"], algorithm, true);
            assert_eq!(found.as_ref(), Ok(digest));
        }
    }

    #[test]
    fn foreign_bytes() {
        crate::fuzz::run("checksum", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for algorithm in [None, Some(Algorithm::Sha384)] {
                if let Ok(digest) = find_in_list(&text, &["image.img"], algorithm, false) {
                    assert!(is_digest(&digest, algorithm), "{digest}");
                }
            }
            let given = checksums(Some(&text), Some(&text), Some(&text));
            let _ = select(&given, "id", true);
        });
    }
}
