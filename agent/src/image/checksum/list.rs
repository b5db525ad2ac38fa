//! Checksum files: which of the digests in one is the image's.

use std::borrow::Cow;

use super::digest::HashAlgorithm;
use super::error::ListError;

/// Finds the digest of one of `names` in a checksum file: either one bare digest, or lines as
/// `sha256sum` (`<digest>  name`, `<digest> *name`), BSD (`SHA256 (name) = <digest>`) or
/// `openssl dgst` (`SHA2-256(name)= <digest>`) print them. Mirrors may name the image
/// differently: the first name that is listed counts.
///
/// Of several digests of one image the first is taken that `algorithm` makes, or when none
/// is named, the first that may be used.
pub(super) fn find(
    text: &str,
    names: &[&str],
    algorithm: Option<HashAlgorithm>,
    md5_enabled: bool,
) -> Result<String, ListError> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.as_slice() {
        [] => return Err(ListError::Empty),
        [line] if !line.contains(' ') => {
            return if is_digest(line, algorithm) {
                Ok((*line).to_owned())
            } else {
                Err(ListError::NotADigest((*line).to_owned()))
            };
        }
        _ => {}
    }
    let entries: Vec<ListEntry> = lines
        .iter()
        .filter_map(|line| ListEntry::parse(line, algorithm))
        .collect();
    let listed = |name: &&str| {
        let about = || entries.iter().filter(|entry| entry.name == *name);
        let is_usable = |entry: &&ListEntry| {
            let made_by = HashAlgorithm::from_digits(entry.digest.len());
            match algorithm {
                Some(algorithm) => algorithm.row().2 == entry.digest.len(),
                None => md5_enabled || made_by != Some(HashAlgorithm::Md5),
            }
        };
        let entry = about().find(is_usable).or_else(|| about().next())?;
        Some(entry.digest.to_owned())
    };
    names.iter().find_map(listed).ok_or_else(|| {
        let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        names.dedup();
        ListError::NotListed(names)
    })
}

/// One line of a checksum file.
struct ListEntry<'a> {
    digest: &'a str,
    /// Without `./`.
    name: Cow<'a, str>,
}

impl<'a> ListEntry<'a> {
    /// `None` for comments, and for digests that `wanted` does not make.
    fn parse(line: &'a str, wanted: Option<HashAlgorithm>) -> Option<Self> {
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
    fn tagged(line: &'a str, wanted: Option<HashAlgorithm>) -> Option<(&'a str, Cow<'a, str>)> {
        let (head, digest) = line.rsplit_once('=')?;
        let (made_by, name) = head.trim_end().strip_suffix(')')?.split_once('(')?;
        let (is_escaped, made_by) = escaped(made_by);
        let made_by = HashAlgorithm::from_name(made_by.trim_end())?;
        // Another hash may have as many digits; without a name the digits tell the hash.
        let is_meant = wanted.map_or_else(
            || HashAlgorithm::from_digits(made_by.row().2) == Some(made_by),
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

pub(super) fn is_digest(word: &str, algorithm: Option<HashAlgorithm>) -> bool {
    let is_named = algorithm.is_some_and(|algorithm| algorithm.row().2 == word.len());
    (is_named || HashAlgorithm::from_digits(word.len()).is_some())
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}
