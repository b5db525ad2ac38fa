use super::digest::HashAlgorithm;
use super::list::{find, is_digest};
use super::select::{Selected, select};
use super::*;
use crate::image::request::Checksums;

fn checksums(algorithm: Option<&str>, value: Option<&str>, checksum: Option<&str>) -> Checksums {
    Checksums {
        os_hash_algo: algorithm.map(str::to_owned),
        os_hash_value: value.map(str::to_owned),
        checksum: checksum.map(str::to_owned),
    }
}

fn known(algorithm: HashAlgorithm, digest: &str) -> Selected {
    Selected::Known(Expected::new(algorithm, digest).unwrap())
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
        let algorithm = HashAlgorithm::from_name(name).unwrap();
        // Upper case is accepted, too.
        let expected = Expected::new(algorithm, &digest.to_uppercase()).unwrap();
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
            Some(known(HashAlgorithm::Sha256, &sha256)),
        ),
        (
            checksums(None, None, Some(&sha512)),
            Some(known(HashAlgorithm::Sha512, &sha512)),
        ),
        (
            checksums(Some("whirlpool"), Some("x"), Some(&sha256)),
            Some(known(HashAlgorithm::Sha256, &sha256)),
        ),
        // The switch rules the pair, too; what is better is taken.
        (checksums(Some("md5"), Some(&md5), None), None),
        (
            checksums(Some("md5"), Some(&md5), Some(&sha256)),
            Some(known(HashAlgorithm::Sha256, &sha256)),
        ),
        (
            checksums(Some("SHA-512/256"), Some(&sha256), None),
            Some(known(HashAlgorithm::Sha512Over256, &sha256)),
        ),
        (checksums(None, None, Some(&md5)), None),
        (checksums(Some("whirlpool"), Some("x"), None), None),
        (checksums(Some("sha512"), Some(&sha256), None), None),
        (
            checksums(Some("sha256"), Some("http://h/sums"), None),
            Some(Selected::Listed {
                url: "http://h/sums".into(),
                algorithm: Some(HashAlgorithm::Sha256),
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
        assert_eq!(selected.unwrap(), known(HashAlgorithm::Md5, &md5));
    }
}

#[test]
fn refusals_say_what_to_change() {
    let said = |checksums| select(&checksums, "img", false).unwrap_err().to_string();
    let unknown = said(checksums(Some("sm3"), Some("x"), None));
    assert!(unknown.starts_with("Unable to verify image img with available checksums."));
    assert!(unknown.contains("sm3"));
    let md5 = said(checksums(None, None, Some(&"a".repeat(32))));
    assert!(md5.contains("MD5 support is disabled"), "{md5}");
    let pair = said(checksums(Some("md5"), Some(&"a".repeat(32)), None));
    assert!(pair.contains("MD5 support is disabled"), "{pair}");
    let odd = said(checksums(None, None, Some("abc")));
    assert!(odd.contains("3 characters"), "{odd}");
}

#[test]
fn a_hash_has_many_names() {
    for (name, algorithm) in [
        ("sha256", Some(HashAlgorithm::Sha256)),
        ("SHA256", Some(HashAlgorithm::Sha256)),
        ("SHA-256", Some(HashAlgorithm::Sha256)),
        ("SHA2-256", Some(HashAlgorithm::Sha256)),
        ("SHA2-512/256", Some(HashAlgorithm::Sha512Over256)),
        ("sha512_224", Some(HashAlgorithm::Sha512Over224)),
        ("md5", Some(HashAlgorithm::Md5)),
        ("sha1", Some(HashAlgorithm::Sha1)),
        ("sha3_256", None),
        ("blake2b", None),
        ("shake_128", None),
        ("", None),
    ] {
        assert_eq!(HashAlgorithm::from_name(name), algorithm, "{name}");
    }
    for (algorithm, _, digits) in HashAlgorithm::ALL {
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
    assert_eq!(same, of("sha256", sha256));
    assert!(of("sha1", sha1).and(of("sha1", &wrong)).is_err());
    // A proof of less than what is expected does not count.
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
        let found = find(&text, &["image.img"], None, false);
        let found = found.map_err(|error| error.to_string());
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
        let found = find(&text, &[name], None, false);
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
        let found = find(&text, &["image.raw"], None, false);
        assert!(found.is_err(), "{line}");
    }
    let (sha1, sha384) = ("d".repeat(40), "e".repeat(96));
    let list = format!("SHA1 (b.img) = {sha1}\nMD5 (b.img) = {md5}\nSHA384 (b.img) = {sha384}\n");
    for (algorithm, digest) in [
        (Some(HashAlgorithm::Sha1), &sha1),
        (Some(HashAlgorithm::Sha384), &sha384),
        (None, &md5),
    ] {
        let found = find(&list, &["a.img", "b.img"], algorithm, true);
        assert_eq!(found.as_ref(), Ok(digest));
    }
}

#[test]
fn damaged_input() {
    ironic_fuzz::run("checksum", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for algorithm in [None, Some(HashAlgorithm::Sha384)] {
            if let Ok(digest) = find(&text, &["image.img"], algorithm, false) {
                assert!(is_digest(&digest, algorithm), "{digest}");
            }
        }
        let given = checksums(Some(&text), Some(&text), Some(&text));
        let _ = select(&given, "id", true);
    });
}
