//! Kernel arguments of a system on software RAID: dracut assembles only the arrays that the
//! kernel's command line names.

use std::io;

use crate::disk::boot::error::BootCause;
use crate::system::foreign_root::ForeignRoot;
use crate::system::{Cmd, System};

/// Where the arguments of GRUB's menu are configured, within the image.
const DEFAULTS: &str = "etc/default/grub";
/// The key of the arguments that every entry of the menu gets.
const KEY: &str = "GRUB_CMDLINE_LINUX";
/// No such file is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Where images have dracut.
const DRACUT: [(&str, &str); 3] = [
    ("usr/bin", "dracut"),
    ("usr/sbin", "dracut"),
    ("sbin", "dracut"),
];

/// Names all arrays of this machine in the image's settings of GRUB, if its initial ramdisk
/// is dracut's.
///
/// # Errors
/// The settings cannot be read or written, or the arrays cannot be listed.
pub(super) async fn name_arrays(system: &System, image: &ForeignRoot) -> Result<(), BootCause> {
    let has = |(folder, name): &(&str, &str)| {
        let entries = image.entries(folder).unwrap_or_default();
        entries.iter().any(|(entry, _)| entry == name)
    };
    if !DRACUT.iter().any(has) {
        return Ok(());
    }
    let scan = Cmd::new("mdadm").args(["--examine", "--scan"]);
    let scan = system.run.run(scan).await?;
    let arguments: Vec<String> = identities(&scan.text())
        .map(|uuid| format!("rd.md.uuid={uuid}"))
        .collect();
    let change = || -> io::Result<()> {
        let text = image.read(DEFAULTS, MAX_FILE_BYTES)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        image.write(DEFAULTS, with_arguments(&text, &arguments).as_bytes())
    };
    change().map_err(|source| BootCause::ImageFile {
        path: format!("/{DEFAULTS}"),
        source,
    })
}

/// The identities in lines like `ARRAY /dev/md/root metadata=1.2 UUID=8314...:... name=x:root`.
fn identities(scan: &str) -> impl Iterator<Item = &str> {
    let is_identity =
        |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
    scan.lines()
        .filter(|line| line.starts_with("ARRAY "))
        .filter_map(|line| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix("UUID="))
        })
        .filter(is_identity)
}

/// The settings with these arguments at the end of those that every entry gets; arguments that
/// are there already are not repeated.
fn with_arguments(settings: &str, arguments: &[String]) -> String {
    let assigns = |line: &&str| {
        line.trim_start()
            .strip_prefix(KEY)
            .is_some_and(|r| r.starts_with('='))
    };
    // Of several assignments a shell takes the last.
    let mut lines: Vec<&str> = settings.lines().collect();
    let at = lines.iter().rposition(assigns);
    let (value, quote) = match at {
        None => ("", '"'),
        Some(at) => {
            let value = lines[at]
                .split_once('=')
                .map_or("", |(_, value)| value)
                .trim();
            match value.chars().next() {
                Some(quote @ ('"' | '\'')) => (quoted(&value[1..], quote), quote),
                _ => (value, '"'),
            }
        }
    };
    let mut words: Vec<&str> = value.split_whitespace().collect();
    for argument in arguments {
        if !words.contains(&argument.as_str()) {
            words.push(argument);
        }
    }
    let line = format!("{KEY}={quote}{}{quote}", words.join(" "));
    match at {
        Some(at) => lines[at] = &line,
        None => lines.push(&line),
    }
    lines.join("\n") + "\n"
}

/// What is in front of the closing quote. A backslash keeps a double quote from closing.
fn quoted(text: &str, quote: char) -> &str {
    let mut is_escaped = false;
    let end = text.find(|c: char| {
        let closes = c == quote && !is_escaped;
        is_escaped = quote == '"' && c == '\\' && !is_escaped;
        closes
    });
    end.map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::system::process::Script;

    const SCAN: &str = "ARRAY /dev/md/root  metadata=1.2 UUID=83143055:2781ddf5:2c8f44c7:9b45d92e name=box:root\n\
        ARRAY /dev/md/esp  metadata=1.0 UUID=0a:0b:0c:0d name=box:esp\n\
        ARRAY metadata=imsm UUID=\"; reboot\nspares=1\n";

    #[test]
    fn arguments_come_last_and_once() {
        let wanted = ["a=1".to_owned(), "b=2".to_owned()];
        for (settings, expected) in [
            ("", "GRUB_CMDLINE_LINUX=\"a=1 b=2\"\n"),
            ("X=1\n", "X=1\nGRUB_CMDLINE_LINUX=\"a=1 b=2\"\n"),
            (
                "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"ro b=2\" # mine\nY=2",
                "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"ro b=2 a=1\"\nY=2\n",
            ),
            (
                "GRUB_CMDLINE_LINUX='x'\n",
                "GRUB_CMDLINE_LINUX='x a=1 b=2'\n",
            ),
            (
                "GRUB_CMDLINE_LINUX=ro\n",
                "GRUB_CMDLINE_LINUX=\"ro a=1 b=2\"\n",
            ),
            (
                "GRUB_CMDLINE_LINUX=\"d=\\\"x\\\"\" # it\"s\n",
                "GRUB_CMDLINE_LINUX=\"d=\\\"x\\\" a=1 b=2\"\n",
            ),
            (
                "GRUB_CMDLINE_LINUX=\"ro\"\nGRUB_CMDLINE_LINUX=\"rw\"\n",
                "GRUB_CMDLINE_LINUX=\"ro\"\nGRUB_CMDLINE_LINUX=\"rw a=1 b=2\"\n",
            ),
        ] {
            assert_eq!(with_arguments(settings, &wanted), expected);
            // Once more changes nothing.
            assert_eq!(with_arguments(expected, &wanted), expected);
        }
    }

    async fn named(has_dracut: bool) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/default/grub", "GRUB_CMDLINE_LINUX=\"ro\"\n"),
            (
                if has_dracut {
                    "usr/bin/dracut"
                } else {
                    "usr/bin/other"
                },
                "",
            ),
        ] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut script = Script::new();
        if has_dracut {
            script = script.expect("mdadm --examine --scan", SCAN);
        }
        let script = Arc::new(script);
        let system = System {
            run: script.clone(),
            ..System::linux()
        };
        let tree = ForeignRoot::open(directory.path()).unwrap();
        name_arrays(&system, &tree).await.unwrap();
        script.assert_done();
        std::fs::read_to_string(directory.path().join(DEFAULTS)).unwrap()
    }

    #[tokio::test]
    async fn arrays_are_named_to_dracut_and_to_no_other() {
        assert_eq!(
            named(true).await,
            "GRUB_CMDLINE_LINUX=\"ro rd.md.uuid=83143055:2781ddf5:2c8f44c7:9b45d92e \
             rd.md.uuid=0a:0b:0c:0d\"\n"
        );
        assert_eq!(named(false).await, "GRUB_CMDLINE_LINUX=\"ro\"\n");
    }
}
