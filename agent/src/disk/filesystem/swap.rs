//! Swap space: one page that says so. What `mkswap` writes, in the layout of the kernel's
//! `union swap_header`.

use ironic_ondisk::partition_table::guid::Guid;

/// The smallest page of any architecture; the fields of the header lie within it.
const MIN_PAGE_BYTES: usize = 4096;
/// Pages of the least swap space: `mkswap` makes none with less, either.
const MIN_PAGES: u64 = 10;
/// What tells a swap space, at the end of its first page.
const MAGIC: &[u8] = b"SWAPSPACE2";
/// The kernel's own limit is lower only on machines with 32 bits.
const LABEL: usize = 16;

/// The first page of a swap space of `size` bytes for a kernel whose pages have `page` bytes.
/// `None`: it is too small to be one.
#[must_use]
pub fn header(size: u64, label: &str, uuid: Guid, page: usize) -> Option<Vec<u8>> {
    let page = page.max(MIN_PAGE_BYTES);
    let pages = size / page as u64;
    if pages < MIN_PAGES {
        return None;
    }
    let last = u32::try_from(pages - 1).unwrap_or(u32::MAX);
    let mut page = vec![0; page];
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&last.to_le_bytes());
    page[1036..1052].copy_from_slice(&uuid.0);
    let label = &label.as_bytes()[..label.len().min(LABEL)];
    page[1052..1052 + label.len()].copy_from_slice(label);
    let magic = page.len() - MAGIC.len();
    page[magic..].copy_from_slice(MAGIC);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::Programs;
    use crate::system::{Cmd, Run, RunError};

    #[tokio::test]
    async fn it_is_what_the_program_writes() {
        let uuid = uuid::Uuid::try_parse("3e6be9de-8fc1-4c6d-8b2a-102030405060").unwrap();
        for size in [40 << 10, 8 << 20, (8 << 20) + 4095] {
            // Kernels for arm64 and ppc64 may have pages of 64 KiB.
            for pages in [4096, 65536] {
                let written = header(size, "swap1", Guid(*uuid.as_bytes()), pages);
                if size < 10 * pages as u64 {
                    assert_eq!(written, None);
                    continue;
                }
                let file = tempfile::NamedTempFile::new().unwrap();
                file.as_file().set_len(size).unwrap();
                let (text, path) = (uuid.to_string(), file.path().to_str().unwrap());
                let bytes = pages.to_string();
                let make =
                    Cmd::new("mkswap").args(["-L", "swap1", "-p", &bytes, "-U", &text, path]);
                match Programs.run(make).await {
                    Err(RunError::Missing { program }) => eprintln!("not compared: {program}"),
                    said => {
                        said.unwrap();
                        let made = std::fs::read(file.path()).unwrap();
                        assert!(made[..pages] == written.unwrap(), "{size} {pages}");
                    }
                }
            }
        }
        assert_eq!(header(40 * 1024 - 1, "swap1", Guid([1; 16]), 4096), None);
        assert_eq!(header(0, "swap1", Guid([1; 16]), 4096), None);
    }
}
