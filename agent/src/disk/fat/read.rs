//! What is in a FAT file system.

use std::io::{Cursor, Read};

use fatfs::{FileSystem, FsOptions};

use crate::disk::tree::{Tree, TreeError};

/// Directories deeper than in any config drive.
const DEEPEST: usize = 16;

/// The files of a file system, if there are not more than `limits` allows.
///
/// # Errors
/// It is damaged, or too much.
pub fn read(bytes: &[u8]) -> Result<Tree<'static>, TreeError> {
    let mut tree = Tree::default();
    // Whatever it is read for must not change it, not even its access times.
    let options = FsOptions::new().update_accessed_date(false);
    let mut copy = bytes.to_vec();
    let system = FileSystem::new(Cursor::new(&mut copy), options)?;
    collect(&system.root_dir(), "", 0, &mut tree)?;
    Ok(tree)
}

fn collect<T: fatfs::ReadWriteSeek>(
    directory: &fatfs::Dir<'_, T>,
    above: &str,
    depth: usize,
    tree: &mut Tree<'static>,
) -> Result<(), TreeError> {
    if depth > DEEPEST {
        return Err(TreeError::TooDeep(DEEPEST));
    }
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{above}{name}");
        if entry.is_dir() {
            tree.directory(path.clone())?;
            collect(&entry.to_dir(), &format!("{path}/"), depth + 1, tree)?;
        } else {
            let mut content = Vec::new();
            let mut file = entry.to_file().take(tree.room() + 1);
            file.read_to_end(&mut content)?;
            tree.file(path, content)?;
        }
    }
    Ok(())
}
