//! Which of the arrays that were made since the machine started is the root volume, as the
//! operator said in the RAID configuration. Kept where files last as long as the boot: an
//! array has no room for it, and after a restart of the machine Ironic's hints decide.

use std::collections::BTreeMap;
use std::io;

use crate::system::PathPrefix;

const FILE: &str = "/run/ironic-agent/root-volumes";

/// What was said of each array, by its device path: `false` is an array that is not to be
/// the root. Empty when nothing was said.
#[must_use]
pub fn read(root: &PathPrefix) -> BTreeMap<String, bool> {
    let text = root.read_optional(FILE).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (name, word) = line.split_once(' ')?;
        Some((name.to_owned(), word.parse().ok()?))
    });
    lines.collect()
}

/// Remembers what the configuration says of arrays that are about to be made; `None` forgets
/// what was said of an earlier one of that name.
///
/// # Errors
/// Those of writing the file.
pub fn remember<'a>(
    root: &PathPrefix,
    arrays: impl IntoIterator<Item = (&'a str, Option<bool>)>,
) -> io::Result<()> {
    let mut known = read(root);
    for (name, is_root) in arrays {
        match is_root {
            Some(is_root) => known.insert(name.to_owned(), is_root),
            None => known.remove(name),
        };
    }
    let text: String = known
        .iter()
        .map(|(name, is_root)| format!("{name} {is_root}\n"))
        .collect();
    let path = root.path(FILE);
    if text.is_empty() && !path.exists() {
        return Ok(());
    }
    let path = root.writable(FILE)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_volume_is_remembered_until_it_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let root = PathPrefix::new(directory.path());
        remember(&root, [("/dev/md0", None)]).unwrap();
        assert!(!root.exists(FILE));
        remember(&root, [("/dev/md0", Some(true)), ("/dev/md1", Some(false))]).unwrap();
        assert_eq!(
            read(&root),
            [
                ("/dev/md0".to_owned(), true),
                ("/dev/md1".to_owned(), false)
            ]
            .into()
        );
        remember(&root, [("/dev/md0", None)]).unwrap();
        assert_eq!(read(&root), [("/dev/md1".to_owned(), false)].into());
        std::fs::write(root.path(FILE), "nonsense\n/dev/md0 perhaps\n").unwrap();
        assert!(read(&root).is_empty());
    }
}
