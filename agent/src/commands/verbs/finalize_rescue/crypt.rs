//! SHA-256 crypt, the `$5$` scheme of crypt(3), after "Unix crypt using SHA-256 and SHA-512"
//! by Ulrich Drepper, version 0.6, with its default of 5000 rounds.

use sha2::{Digest, Sha256};

const ROUNDS: usize = 5000;

/// Length of a digest in bytes.
const DIGEST: usize = 32;

/// The alphabet of salts and of the text form, in its order.
pub(super) const ALPHABET: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The crypt form of a password: `$5$<salt>$<43 characters>`. Of the salt, at most 16
/// characters count.
pub(super) fn sha256_crypt(password: &str, salt: &str) -> String {
    const MAX_SALT_CHARS: usize = 16;
    let salt: String = salt.chars().take(MAX_SALT_CHARS).collect();
    let (key, seed) = (password.as_bytes(), salt.as_bytes());

    let alternate = digest(&[key, seed, key]);
    let mut start = Sha256::new();
    start.update(key);
    start.update(seed);
    start.update(stretched(&alternate, key.len()));
    let mut bits = key.len();
    while bits > 0 {
        if bits & 1 == 1 {
            start.update(alternate);
        } else {
            start.update(key);
        }
        bits >>= 1;
    }
    let mut state: [u8; DIGEST] = start.finalize().into();

    let keys = vec![key; key.len()];
    let key_bytes = stretched(&digest(&keys), key.len());
    let seeds = vec![seed; 16 + usize::from(state[0])];
    let seed_bytes = stretched(&digest(&seeds), seed.len());

    for round in 0..ROUNDS {
        let mut next = Sha256::new();
        let odd = round % 2 == 1;
        next.update(if odd { key_bytes.as_slice() } else { &state });
        if round % 3 != 0 {
            next.update(&seed_bytes);
        }
        if round % 7 != 0 {
            next.update(&key_bytes);
        }
        next.update(if odd { state.as_slice() } else { &key_bytes });
        state = next.finalize().into();
    }
    format!("$5${salt}${}", text(&state))
}

fn digest(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// The digest, repeated and cut to a length.
fn stretched(digest: &[u8; DIGEST], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// The text form: groups of three bytes that step through the digest, low bits first.
fn text(digest: &[u8; DIGEST]) -> String {
    let mut text = String::with_capacity(43);
    let mut group = |high: u8, middle: u8, low: u8, characters: usize| {
        let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(bits & 0x3f) as usize]));
            bits >>= 6;
        }
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        group(digest[a], digest[b], digest[c], 4);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    group(0, digest[31], digest[30], 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_openssl() {
        // Made by `openssl passwd -5 -salt <salt> <password>`.
        for (password, salt, expected) in CASES {
            assert_eq!(sha256_crypt(password, salt), *expected, "{password:?}");
        }
    }

    #[test]
    fn a_long_salt_counts_up_to_its_sixteenth_character() {
        assert_eq!(
            sha256_crypt("secret", "abcdefghijklmnopqrs"),
            sha256_crypt("secret", "abcdefghijklmnop")
        );
    }

    const CASES: &[(&str, &str, &str)] = &[
        (
            "Hello world!",
            "saltstring",
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ),
        ("a", "x", "$5$x$85aGabM7xSEYcp0wkefjwtqWAYi1Rrq3b01Gtllmmh7"),
        (
            "This is just a test of a passphrase that is longer than one digest: 0123456789",
            "abcdefghijklmnop",
            "$5$abcdefghijklmnop$Iy5f0PzVLXGqy6pGiKa7HpnXesXgjhdyiCHNrQY4OP6",
        ),
        (
            "grün € 💾",
            "./AZaz09",
            "$5$./AZaz09$04WoslpqQes5.fnygwyvvC57o6coUCCszdnJ8hHASk9",
        ),
        (
            "0123456789abcdef0123456789abcdef",
            "ab",
            "$5$ab$ZYKgsJaGyMtfIhnh6jwyF7c6qsknCMmcnv3Prgvu8Y4",
        ),
        (
            "0123456789abcdef0123456789abcdef0",
            "ab",
            "$5$ab$eR57/UzJ.9CZy/mItV5mV98U9cZRW3XS6meQ2Zh5ymB",
        ),
    ];
}
