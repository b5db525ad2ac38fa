//! Swap space: one page that says so. What `mkswap` writes, in the layout of the kernel's
//! `union swap_header`.

use super::gpt::Guid;

/// The page of every architecture but those that chose a larger one when their kernel was
/// built; the ramdisk's is what `mkswap` would take, too.
const PAGE: u64 = 4096;
/// The kernel's own limit is lower only on machines with 32 bits.
const LABEL: usize = 16;

/// The first page of a swap space of `size` bytes. `None`: it is too small to be one.
#[must_use]
pub fn header(size: u64, label: &str, uuid: Guid) -> Option<Vec<u8>> {
    // mkswap refuses less than ten pages.
    let last = u32::try_from(size / PAGE - u64::from(size >= PAGE)).unwrap_or(u32::MAX);
    if size < 10 * PAGE {
        return None;
    }
    let mut page = vec![0; 4096];
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&last.to_le_bytes());
    page[1036..1052].copy_from_slice(&uuid.0);
    let label = &label.as_bytes()[..label.len().min(LABEL)];
    page[1052..1052 + label.len()].copy_from_slice(label);
    page[4086..].copy_from_slice(b"SWAPSPACE2");
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
        for size in [10 * PAGE, 8 << 20, (8 << 20) + 4095] {
            let page = header(size, "swap1", Guid(*uuid.as_bytes())).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(size).unwrap();
            let (text, path) = (uuid.to_string(), file.path().to_str().unwrap());
            let make = Cmd::new("mkswap").args(["-L", "swap1", "-p", "4096", "-U", &text, path]);
            match Programs.run(make).await {
                Err(RunError::Missing { program }) => eprintln!("not compared: {program}"),
                said => {
                    said.unwrap();
                    let made = std::fs::read(file.path()).unwrap();
                    assert!(made[..4096] == page, "{size}");
                }
            }
        }
        assert_eq!(header(10 * PAGE - 1, "swap1", Guid([1; 16])), None);
        assert_eq!(header(0, "swap1", Guid([1; 16])), None);
    }
}
