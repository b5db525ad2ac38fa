//! Secrets of the kernel's command line, which the kernel itself logs.

use std::borrow::Cow;
use std::sync::LazyLock;

use ironic_options::Settings as _;

use crate::config::AgentConfig;

/// The beginnings of parameters whose values are secrets: `ipa-agent-token=`.
static SECRET_PARAMETERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let options = AgentConfig::options().into_iter();
    let secret = options.filter(|option| option.slot.secret);
    let names = secret.filter_map(|option| option.kernel);
    names.map(|name| format!("{name}=")).collect()
});

/// The bytes with stars in the place of secrets.
pub(super) fn without_secrets(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = Cow::Borrowed(bytes);
    for parameter in SECRET_PARAMETERS.iter() {
        let parameter = parameter.as_bytes();
        let mut from = 0;
        while let Some(found) = bytes[from..]
            .windows(parameter.len())
            .position(|window| window == parameter)
        {
            from += found + parameter.len();
            let length = bytes[from..].iter().position(u8::is_ascii_whitespace);
            let end = length.map_or(bytes.len(), |length| from + length);
            bytes.to_mut()[from..end].fill(b'*');
        }
    }
    bytes
}

/// The same of a text.
pub(super) fn text_without_secrets(text: &str) -> String {
    String::from_utf8_lossy(&without_secrets(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_of_the_command_line_is_replaced() {
        let line = "BOOT=x ipa-agent-token=s3cret quiet ipa-join-token=ID.S3 ipa-agent-token=s";
        assert_eq!(
            text_without_secrets(line),
            "BOOT=x ipa-agent-token=****** quiet ipa-join-token=***** ipa-agent-token=*"
        );
        assert!(matches!(without_secrets(b"quiet"), Cow::Borrowed(_)));
    }
}
