//! The kernel's names of block devices.

/// Whether a device that is not a partition, or the device of a partition, is a software RAID
/// array by its name.
pub(in crate::machine) fn is_array(kernel_name: &str) -> bool {
    kernel_name.strip_prefix("md").is_some_and(|rest| {
        let rest = rest.strip_prefix('_').unwrap_or(rest);
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
            || kernel_name.starts_with("md_")
    })
}

/// The kernel writes `!` for the `/` in names like `cciss/c0d0`.
#[must_use]
pub fn device_path(kernel_name: &str) -> String {
    format!("/dev/{}", kernel_name.replace('!', "/"))
}

/// The kernel's name of a device by its path; `None` for a file. What it makes of a link in `/dev`
/// is the name of nothing.
#[must_use]
pub fn kernel_name_of(path: &str) -> Option<String> {
    let name = path.strip_prefix("/dev/")?;
    (!name.is_empty()).then(|| name.replace('/', "!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_belong_together() {
        for (path, name) in [
            ("/dev/sda", "sda"),
            ("/dev/cciss/c0d0p1", "cciss!c0d0p1"),
            ("/dev/disk/by-path/x", "disk!by-path!x"),
        ] {
            assert_eq!(kernel_name_of(path).as_deref(), Some(name));
            assert_eq!(device_path(name), path);
        }
        for path in ["/tmp/sda", "/dev/", "/dev", "sda", ""] {
            assert_eq!(kernel_name_of(path), None, "{path}");
        }
    }
}
