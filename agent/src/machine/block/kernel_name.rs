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
pub(in crate::machine) fn device_path(kernel_name: &str) -> String {
    format!("/dev/{}", kernel_name.replace('!', "/"))
}
