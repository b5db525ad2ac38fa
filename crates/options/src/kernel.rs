//! The kernel command line, and the file of the same syntax on virtual media.

use std::fmt;
use std::path::Path;

use crate::virtual_media::{DIRECTORY, PARAMETERS};

/// `key=value` parameters: words between white space, cut at the first `=`, no quoting.
/// Of several with one key the last counts; words without `=` are skipped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

/// Shows the keys: one of the values may be the agent token.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}

impl Parameters {
    /// Reads a command line or the text of a `parameters.txt`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        Self(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The running kernel's command line, `/proc/cmdline` below `root`; empty when it cannot
    /// be read.
    #[must_use]
    pub fn of_kernel(root: &Path) -> Self {
        Self::read(&root.join("proc/cmdline"))
    }

    /// The parameters on a mounted virtual medium; empty when it has none.
    #[must_use]
    pub fn of_virtual_media(mounted: &Path) -> Self {
        Self::read(&mounted.join(PARAMETERS))
    }

    /// One byte that is not UTF-8 damages its own parameter and no other.
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// The parameters that this machine was booted with: those of the kernel, and of virtual
    /// media where it was booted from them.
    #[must_use]
    pub fn of_machine(root: &Path) -> Self {
        let kernel = Self::of_kernel(root);
        if !kernel.boots_from_virtual_media() {
            return kernel;
        }
        let directory = DIRECTORY.trim_start_matches('/');
        kernel.followed_by(Self::of_virtual_media(&root.join(directory)))
    }

    /// The value that counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut from_the_end = self.0.iter().rev();
        from_the_end
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether Ironic booted the machine from virtual media, where more parameters are.
    #[must_use]
    pub fn boots_from_virtual_media(&self) -> bool {
        self.get("boot_method") == Some("vmedia")
    }

    /// These parameters and after them, so that they win, `others`.
    #[must_use]
    pub(crate) fn followed_by(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The keys that address the agent, each once.
    pub(crate) fn agent_keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.0.iter().map(|(key, _)| key.as_str());
        let later = |index: usize, key: &str| self.0[index + 1..].iter().any(|(k, _)| k == key);
        keys.enumerate()
            .filter(move |(index, key)| key.starts_with("ipa-") && !later(*index, key))
            .map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words() {
        let parameters = Parameters::parse(
            "BOOT_IMAGE=/k quiet ipa-api-url=http://h:1/?a=b\tipa-debug=0 ipa-debug=1\nipa-x=\"a b\" BOOTIF=01-aa",
        );
        let cases = [
            ("ipa-api-url", Some("http://h:1/?a=b")),
            ("ipa-debug", Some("1")),
            ("ipa-x", Some("\"a")),
            ("BOOTIF", Some("01-aa")),
            ("quiet", None),
            ("bootif", None),
        ];
        for (key, value) in cases {
            assert_eq!(parameters.get(key), value, "{key}");
        }
        let keys: Vec<_> = parameters.agent_keys().collect();
        assert_eq!(keys, ["ipa-api-url", "ipa-debug", "ipa-x"]);
        assert!(!parameters.boots_from_virtual_media());
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("run/ironic-virtual-media/parameters.txt", "a=2");
        for (cmdline, value) in [("a=1", "1"), ("boot_method=vmedia a=1", "2")] {
            write("proc/cmdline", cmdline);
            assert_eq!(Parameters::of_machine(root.path()).get("a"), Some(value));
        }
        assert!(Parameters::parse("boot_method=vmedia").boots_from_virtual_media());
    }
}
