//! Names and addresses of hosts.

/// The longest name that a host can have, in bytes: RFC 1035, section 2.3.4, as text.
const MAX_HOST_BYTES: usize = 253;

/// Whether a text can be the name or address of a host, and is not an option of a program that it is
/// given to. An empty one passes: where a host must be named, that is for the caller to say.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    text.len() <= MAX_HOST_BYTES && !text.starts_with('-') && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::{MAX_HOST_BYTES, is_host};

    #[test]
    fn nothing_but_names_and_addresses_passes() {
        let long = "a".repeat(MAX_HOST_BYTES);
        for host in ["ntp-1.example.org", "fd00::1", "192.0.2.1", "a_b", &long] {
            assert!(is_host(host), "{host}");
        }
        let longer = "a".repeat(MAX_HOST_BYTES + 1);
        for other in ["-u", "a b", "a'b", "$(x)", "a/b", "ä.example", &longer] {
            assert!(!is_host(other), "{other}");
        }
    }
}
