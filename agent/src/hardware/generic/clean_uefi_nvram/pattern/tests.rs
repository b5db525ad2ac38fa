//! Python's own answers to patterns.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

/// What Python finds: one of `true`, `false` or null for a pattern that it refuses, for
/// each pattern and text.
const PYTHON: &str = "import json,re,sys,warnings\n\
    warnings.simplefilter('ignore')\n\
    patterns,texts=json.load(sys.stdin)\n\
    def ask(pattern):\n\
    \x20try: compiled=re.compile(pattern,re.IGNORECASE)\n\
    \x20except Exception: return None\n\
    \x20return [compiled.search(text) is not None for text in texts]\n\
    print(json.dumps([ask(pattern) for pattern in patterns]))\n";

const TEXTS: [&str; 12] = [
    r"HD(1,GPT,34178504-2340-4fe0-8001-264372cf9b2d,0x800,0x64000)/File(\EFI\redhat\shimx64.efi)",
    r"PciRoot(0x0)/Pci(0x1c,0x0)/MAC(525400e2e001,0)/IPv4(0.0.0.00.0.0.0,0,0)",
    r"PciRoot(0x0)/Pci(0x2,0x1)/NVMe(0x1,00-25-38-5B-71-B0-00-00)/HD(2,MBR,0x0)/File(\EFI\BOOT\GRUBX64.EFI)",
    "VenHw(d6c0639f-c705-4eb9-aa4f-5802d8823de6)......A.....P.E.R.C.",
    "UsbClass(ffff,ffff,255,255)",
    "BBS(128,IBA GE Slot 0100 v1588,0x0)",
    "VenMsg(bc7838d2-0f82-4d60-8316-c068ee79d25b,91af625956)/Uri(https://download.example/x.iso)",
    "FvFile(3593a0d5-bd52-43a0-808e-cbff5ece2477)",
    "a{b}c{,3}d[e]f&&g--h~~i",
    "aa bb aab 11 Straße ÄÖ\u{e9}",
    "",
    "\u{1}\u{8}\u{c}\u{7}",
];

/// Patterns of every construct, and such as are joined from two of them.
fn patterns() -> Vec<String> {
    let simple = [
        r"^HD\(",
        r"shim.*\.efi",
        r"grub.*\.efi",
        r"(?<!redhat\\)shim",
        r"(?<=EFI\\)boot",
        r"File(?!.*grub)",
        r"(?=.*NVMe)(?=.*HD)",
        r"(ff)\1",
        r"(?P<d>[0-9a-f]{2}),?.*(?P=d)",
        r"(a)\1",
        r"(.)\1\1",
        r"[[]e[]]",
        r"[]e[]",
        r"a{b}c",
        r"\{b\}",
        r"c{,3}d",
        r"c{,3}",
        r"f{1,2}",
        r"f{2}",
        r"f{3,}",
        r"{",
        r"}",
        r"x{,}",
        r"x{}",
        r"{1}",
        r"^{2}",
        r"[&&]",
        r"[~~i]",
        r"[+--]",
        r"[a-f-]",
        r"[^\W\d_]{4}",
        r"[\w-]+\.efi",
        r"\d{3}",
        r"\Z",
        r"\A$",
        r"(?i)hd",
        r"(?i:HD)\(1",
        r"(?s).",
        r"(?x) H D  # comment",
        r"(?m)^Ven",
        r"(?u)hd",
        r"(?#comment)Usb",
        r"\x41",
        r"\101",
        r"\0",
        r"[\0-\x08]",
        r"[\b]",
        r"\a",
        r"\f",
        r"\u00e9",
        r"stra\u00dfe",
        r"ÄÖ",
        r"äö",
        r"\.\.\.\.A",
        r"\/File",
        r"\-",
        r"\ ",
        r"\&",
        r"(?:Pci|Usb)(?:Root|Class)",
        r"(a)?(?(1)a|b)b",
        r"(?>a+)b",
        r"a++b",
        r"(a|b)*?c",
        r"\bGE\b",
        r"\BE",
        r"MAC\(.*HD",
        r"[^)]*\)$",
        r"()",
        r"a||b",
        r"(?P<x>a)(?P=x)",
        // What Python refuses.
        r")oo(",
        r"(",
        r"[",
        r"[b-a]",
        r"*",
        r"a**",
        r"\q",
        r"\8",
        r"(?<name>a)",
        r"(?P>a)",
        r"(?P<1>a)",
        r"\xg1",
        r"(?z)",
        r"a{2,1}",
        r"(?<=a+)b",
        r"\1",
        r"(?P=none)",
        "\\",
    ];
    let mut all: Vec<String> = simple.iter().map(|text| (*text).to_owned()).collect();
    for (place, first) in simple.iter().enumerate() {
        let second = simple[(place * 7 + 3) % simple.len()];
        all.push(format!("{first}|{second}"));
        all.push(format!("(?:{first}).*(?:{second})"));
    }
    all
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "Python is run beside the code, not by it"
)]
fn patterns_find_what_they_find_in_python() {
    let patterns = patterns();
    let mut python = Command::new("python3")
        .args(["-I", "-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input
        .write_all(json!([patterns, TEXTS]).to_string().as_bytes())
        .unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let (mut compared, mut refused) = (0, 0);
    for (pattern, expected) in patterns.iter().zip(&answers) {
        let ours = Pattern::new(pattern);
        let Some(expected) = expected.as_array() else {
            refused += 1;
            continue;
        };
        let ours = ours.unwrap_or_else(|error| panic!("{error}"));
        for (text, expected) in TEXTS.iter().zip(expected) {
            let found = ours.is_in(text).unwrap();
            assert_eq!(json!(found), *expected, "{pattern:?} in {text:?}");
            compared += 1;
        }
    }
    assert!(
        compared > 1500,
        "{compared} compared, {refused} refused by Python"
    );
}

#[test]
fn wrong_patterns_are_refused_as_in_python() {
    for pattern in [
        ")oo(",
        "(",
        "[",
        "[b-a]",
        "*",
        r"\q",
        "(?<name>a)",
        "(?P>a)",
        r"\xg1",
        "(?z)",
        "a{2,1}",
        r"\1",
        "(?P=none)",
        "\\",
        "(?#",
        "(?L)a",
    ] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn a_pattern_that_never_ends_is_an_error() {
    let pattern = Pattern::new(r"(?:(a*)\1)*b").unwrap();
    let error = pattern.is_in(&format!("{}c", "a".repeat(64))).unwrap_err();
    assert!(error.to_string().contains("too many steps"), "{error}");
}
