use super::*;
use crate::rest::json::write;

#[test]
fn reads_and_refuses_what_python_reads_and_refuses() {
    let mut compared = 0;
    for line in include_str!("python.tsv").lines() {
        if line.starts_with('#') {
            continue;
        }
        let mut columns = line.split('\t');
        let bytes = hex(columns.next().unwrap());
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (error, written) = (columns.next().unwrap(), columns.next().unwrap());
        match body(&bytes) {
            Err(malformed) => assert_eq!(malformed.to_string(), error, "{shown}"),
            Ok(read) if read.unfit.is_empty() => {
                let text = String::from_utf8(write::text(&read.value)).unwrap();
                assert_eq!((text.as_str(), ""), (written, error), "{shown}");
            }
            Ok(_) => assert_eq!(("", ""), (written, error), "{shown}"),
        }
        compared += 1;
    }
    assert!(compared > 200, "{compared}");
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn what_cannot_be_carried_is_noted_with_its_path() {
    let cases = [
        (
            r#"{"params": {"node": {"extra": {"n": [0, 9007199254740993]}}}}"#,
            "params.node.extra.n[1]",
            UnsupportedValue::Integer("9007199254740993".into()),
        ),
        (
            r#"[{"a": -9007199254740993}]"#,
            "[0].a",
            UnsupportedValue::Integer("-9007199254740993".into()),
        ),
        (
            r#"{"a": 123456789012345678901234567890123456789012345}"#,
            "a",
            UnsupportedValue::Integer("1234567890123456789012345678901234567890...".into()),
        ),
        (r#"{"a": NaN}"#, "a", UnsupportedValue::NotFinite("NaN")),
        (
            r#"{"a": -Infinity}"#,
            "a",
            UnsupportedValue::NotFinite("-Infinity"),
        ),
        (
            r#"{"a": 1e999}"#,
            "a",
            UnsupportedValue::NotFinite("Infinity"),
        ),
        (r#"{"a": "\ud800"}"#, "a", UnsupportedValue::Surrogate),
        (
            r#"{"a": {"b\udfff": 1}}"#,
            "a.b",
            UnsupportedValue::Surrogate,
        ),
    ];
    for (text, path, reason) in cases {
        let read = body(text.as_bytes()).unwrap();
        let expected = DocumentError {
            path: path.into(),
            reason,
        };
        assert_eq!(read.unfit, [expected], "{text}");
    }
    let edge = body(b"[9007199254740992, -9007199254740992]").unwrap();
    assert_eq!(edge.unfit, []);
}

#[test]
fn the_first_of_them_under_each_key_is_noted() {
    let text = r#"{"x": [NaN, Infinity], "params": {"a": [[0, {"b": NaN}], NaN], "c": NaN}}"#;
    let read = body(text.as_bytes()).unwrap();
    let paths: Vec<&str> = read.unfit.iter().map(|unfit| unfit.path.as_str()).collect();
    assert_eq!(paths, ["x[0]", "params.a[0][1].b"]);
}

/// What took minutes: each of many values that cannot be carried, at each level that it is
/// nested in. And the path of one, made of keys as long as the body.
#[test]
fn what_cannot_be_carried_takes_no_time_of_its_own() {
    let nested = format!(
        "{{\"params\": {}{}0{}}}",
        "[".repeat(MAX_DEPTH - 2),
        "NaN,".repeat(100_000),
        "]".repeat(MAX_DEPTH - 2)
    );
    let read = body(nested.as_bytes()).unwrap();
    assert_eq!(read.unfit.len(), 1);
    let long = "k".repeat(100_000);
    let (levels, end) = (MAX_DEPTH - 1, "}".repeat(MAX_DEPTH - 1));
    let keys = format!("{}NaN{end}", format!("{{\"{long}\":").repeat(levels));
    let read = body(keys.as_bytes()).unwrap();
    assert!(
        read.unfit[0].path.len() < 100 * levels,
        "{}",
        read.unfit[0].path.len()
    );
}

#[test]
fn what_would_take_too_much_memory_is_not_read() {
    let text = format!("[{}0]", "[],".repeat(1_000_000));
    let refusal = body(text.as_bytes()).unwrap_err();
    assert!(matches!(refusal, Malformed::Weight(_)), "{refusal}");
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(body(nested(MAX_DEPTH).as_bytes()).is_ok());
    for levels in [MAX_DEPTH + 1, 100_000] {
        assert_eq!(body(nested(levels).as_bytes()), Err(Malformed::Depth));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = body(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        let _ = body(&bytes);
    }

    /// What serde_json reads without loss, we read the same.
    #[test]
    fn agrees_with_serde_json(text in r#"[\[\]{}":, 0-9a-c.eE+\-\\nulltrue]{0,40}"#) {
        let ours = body(text.as_bytes());
        let theirs = serde_json::from_str::<Value>(&text);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours.unfit.is_empty() => {
                proptest::prop_assert_eq!(ours.value, theirs);
            }
            (Ok(ours), theirs) => proptest::prop_assert!(!ours.unfit.is_empty() || theirs.is_err()),
            (Err(_), theirs) => proptest::prop_assert!(theirs.is_err()),
        }
    }
}
