//! What the ramdisk takes from a DHCP server: any machine of the network may be one.

use std::process::Command;

/// Whether a function of the ramdisk's script accepts a value.
fn accepts(function: &str, value: &str) -> bool {
    let script = include_str!("../../ramdisk/root/usr/share/udhcpc/default.script");
    let (_, functions) = script.split_once("# Names of DNS").unwrap();
    let (functions, _) = functions.split_once("write_resolver()").unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell script is tried with a shell"
    )]
    let ran = Command::new("sh")
        .args([
            "-c",
            &format!("#{functions}\n{function} \"$1\""),
            "sh",
            value,
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{value:?}");
    ran.status.success()
}

#[test]
fn names_are_names() {
    for name in ["example.org", "a", "lab-1.example.org example.org", "_x.y"] {
        assert!(accepts("are_names", name), "{name:?}");
    }
    let long = "x".repeat(1025);
    for name in [
        "",
        "-F",
        "a -F",
        "a\nnameserver 192.0.2.1",
        "a;reboot",
        "$(reboot)",
        "`reboot`",
        "a/b",
        "\u{1b}[2J",
        "\u{7}",
        "\u{9b}",
        "a\tb",
        "é",
        "*",
        "a\\b",
        "\"",
        "'",
        "#",
        &long,
    ] {
        assert!(!accepts("are_names", name), "{name:?}");
    }
}

#[test]
fn an_mtu_is_one_that_a_network_can_have() {
    for mtu in ["576", "1500", "9000", "9216"] {
        assert!(accepts("is_mtu", mtu), "{mtu}");
    }
    for mtu in [
        "",
        "0",
        "68",
        "575",
        "9217",
        "65535",
        "-1",
        "1500 up",
        "1e3",
        "99999999999999999999",
        "x",
    ] {
        assert!(!accepts("is_mtu", mtu), "{mtu}");
    }
}

/// Nothing of an answer is used unchecked but what is a number by then.
#[test]
fn every_text_of_an_answer_is_checked() {
    let script = include_str!("../../ramdisk/root/usr/share/udhcpc/default.script");
    for line in script
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        for (text, check) in [
            ("$hostname", "are_names"),
            ("$domain", "are_names"),
            ("$search", "are_names"),
            ("$mtu", "is_mtu"),
            (":-$domain", "are_names"),
        ] {
            if line.contains(text) {
                assert!(line.contains(check), "{line}");
            }
        }
    }
}
