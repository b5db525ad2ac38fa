use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::*;

fn number(number: f64) -> prost_types::Value {
    prost_types::Value {
        kind: Some(Kind::NumberValue(number)),
    }
}

fn object_of(document: Value) -> Map<String, Value> {
    let Value::Object(object) = document else {
        unreachable!("the tables hold objects")
    };
    object
}

#[test]
fn everyday_documents_survive_the_way_there_and_back() {
    let documents = [
        json!(null),
        json!(true),
        json!(0),
        json!(-7),
        json!(EXACT),
        json!(-9_007_199_254_740_992_i64),
        json!(0.5),
        json!("\u{1f4be} \0"),
        json!([]),
        json!({}),
        json!({"a": [1, {"b": null}], "c": {"d": [[], [false]]}}),
    ];
    for document in documents {
        let carried = to_value(document.clone(), "x").unwrap();
        let written = serde_json::to_value(AsJson(&carried)).unwrap();
        assert_eq!(written, document);
        assert_eq!(value(carried, "x").unwrap(), document);
    }
    // An integral float is an integer afterwards: a double does not know the difference.
    let carried = to_value(json!(2.0), "").unwrap();
    assert_eq!(serde_json::to_string(&AsJson(&carried)).unwrap(), "2");
}

#[test]
fn numbers_are_read_as_integers_up_to_the_limit() {
    let cases = [
        (0.0, json!(0)),
        (-1.0, json!(-1)),
        (1.5, json!(1.5)),
        (1e-300, json!(1e-300)),
        (9_007_199_254_740_992.0, json!(9_007_199_254_740_992_i64)),
        (-9_007_199_254_740_992.0, json!(-9_007_199_254_740_992_i64)),
        (-0.0, json!(-0.0)),
    ];
    for (double, expected) in cases {
        let read = value(number(double), "x").unwrap();
        assert_eq!(read.to_string(), expected.to_string());
    }
}

#[test]
fn a_number_that_would_be_rounded_is_refused_by_its_path() {
    let beyond = EXACT + 1;
    let cases = [
        (json!({"size": beyond}), "size"),
        (json!({"a": {"b": [0, [beyond]]}}), "a.b[1][0]"),
        (json!({"a": [{"b": -9_007_199_254_740_993_i64}]}), "a[0].b"),
        (json!({"a": u64::MAX}), "a"),
        (json!({"a": i64::MIN}), "a"),
        (json!({"a": 1e300}), "a"),
    ];
    for (document, path) in cases {
        let error = to_struct(object_of(document.clone()), "").unwrap_err();
        assert_eq!(error.path, path);
        assert!(
            matches!(error.reason, UnsupportedValue::Integer(_)),
            "{error}"
        );
        let error = to_value(document, "node").unwrap_err();
        assert_eq!(error.path, format!("node.{path}"));
    }
    let error = to_list(vec![json!(0), json!(beyond)], "flow").unwrap_err();
    assert_eq!(error.path, "flow[1]");
}

#[test]
fn what_json_does_not_have_is_refused_by_its_path() {
    let cases = [
        (
            number(9_007_199_254_740_994.0),
            "is 9007199254740994: an integer beyond 2^53",
        ),
        (number(-1e300), "an integer beyond 2^53"),
        (number(f64::NAN), "is NaN, which is not JSON"),
        (number(f64::INFINITY), "is Infinity, which is not JSON"),
        (number(f64::NEG_INFINITY), "is -Infinity, which is not JSON"),
        (prost_types::Value { kind: None }, "has no kind"),
    ];
    for (wrong, reason) in cases {
        let values = vec![to_value(json!(true), "").unwrap(), wrong];
        let list = prost_types::Value {
            kind: Some(Kind::ListValue(ListValue { values })),
        };
        let extra = Struct {
            fields: [("list".to_owned(), list)].into_iter().collect(),
        };
        let error = object(extra, "node").unwrap_err().to_string();
        assert!(error.starts_with("node.list[1] "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

/// A request takes six messages around the document that it carries.
#[test]
fn what_passes_is_not_too_deep_for_the_other_end() {
    #[derive(Clone, PartialEq, Message)]
    struct Around {
        #[prost(message, optional, boxed, tag = "1")]
        inner: Option<Box<Around>>,
        #[prost(message, optional, tag = "2")]
        document: Option<Struct>,
    }
    // Objects take the most messages.
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let deepest = to_struct(object_of(nested(MAX_DEPTH + 1)), "").unwrap();
    let innermost = Around {
        inner: None,
        document: Some(deepest),
    };
    let request = (0..5).fold(innermost, |inner, _| Around {
        inner: Some(Box::new(inner)),
        document: None,
    });
    let decoded = Around::decode(request.encode_to_vec().as_slice());
    assert_eq!(decoded.unwrap(), request);

    let error = to_struct(object_of(nested(MAX_DEPTH + 2)), "").unwrap_err();
    assert_eq!(error.reason, UnsupportedValue::Depth);
    assert_eq!(error.path, vec!["a"; MAX_DEPTH + 1].join("."));
}

#[test]
fn long_keys_are_cut_in_a_path() {
    let error = DocumentError::here(UnsupportedValue::Depth).below(&"k".repeat(100));
    assert_eq!(error.path, format!("{}...", "k".repeat(MAX_KEY_BYTES)));
    assert_eq!(error.clone().below(""), error);
}

#[test]
fn no_number_of_the_other_end_breaks_the_json() {
    for not_finite in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let text = serde_json::to_string(&AsJson(&number(not_finite))).unwrap();
        assert_eq!(text, "null");
    }
    assert_eq!(integer(9_007_199_254_740_994.0), None);
    assert_eq!(integer(-0.0), Some(0));
}

fn json_documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        any::<f64>()
            .prop_filter("integral numbers are read as integers", |n| n.fract()
                != 0.0
                && n.is_finite())
            .prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_comes_back_as_it_went(document in json_documents()) {
        let there = to_value(document.clone(), "x").unwrap();
        prop_assert_eq!(value(there, "x").unwrap(), document);
    }

    #[test]
    fn no_integer_is_ever_changed(integer in any::<i64>()) {
        match to_value(json!(integer), "x") {
            Ok(there) => prop_assert_eq!(value(there, "x").unwrap(), json!(integer)),
            Err(_) => prop_assert!(integer.unsigned_abs() > 1 << 53),
        }
    }
}
