//! URLs with places for the node's values, in the manner of Python's `str.format`:
//! `http://server/{node[uuid]}/{ports[0][address]}`.

use ironic_document::JsonObject;
use serde_json::Value;

use super::error::{TemplateError, TemplateProblem};
use crate::machine::ironic_node::Node;

/// Parts of a node that hold credentials, its own or those of its BMC. They go to no server.
const PRIVATE: [&str; 3] = ["driver_info", "driver_internal_info", "configdrive"];

/// Fills in the places.
///
/// # Errors
/// A place that cannot be filled.
pub(super) fn fill(
    template: &str,
    node: &Node,
    ports: &[JsonObject],
) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = after;
            continue;
        }
        let end = rest.find('}').filter(|_| brace == "{");
        let end = end.ok_or_else(|| TemplateError::Brace {
            brace: brace.to_owned(),
            template: template.to_owned(),
        })?;
        let placeholder = &rest[..end];
        let value =
            value_of(placeholder, node, ports).map_err(|problem| TemplateError::Placeholder {
                placeholder: placeholder.to_owned(),
                problem,
            })?;
        filled.push_str(&value);
        rest = &rest[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The value that a place stands for.
fn value_of(text: &str, node: &Node, ports: &[JsonObject]) -> Result<String, TemplateProblem> {
    let (name, mut keys) = match text.split_once('[') {
        Some((name, keys)) => (name, Some(keys)),
        None => (text, None),
    };
    let mut path = Vec::new();
    while let Some(open) = keys {
        let (key, after) = open.split_once(']').ok_or(TemplateProblem::OpenBracket)?;
        path.push(key);
        keys = match after {
            "" => None,
            after => Some(after.strip_prefix('[').ok_or(TemplateProblem::NotKeys)?),
        };
    }
    if path.iter().any(|key| PRIVATE.contains(key)) {
        return Err(TemplateProblem::Private);
    }
    let mut path = path.into_iter();
    let mut value = match name {
        "node" => path.next().and_then(|key| node.0.get(key)),
        "ports" => {
            let port = path.next().and_then(|index| index.parse().ok());
            let port = port.and_then(|index: usize| ports.get(index));
            port.zip(path.next()).and_then(|(port, key)| port.get(key))
        }
        _ => return Err(TemplateProblem::Unknown),
    };
    for key in path {
        value = value.and_then(|value| match value {
            Value::Array(list) => list.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        });
    }
    match value {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Bool(true)) => Ok("True".to_owned()),
        Some(Value::Bool(false)) => Ok("False".to_owned()),
        Some(Value::Null) => Ok("None".to_owned()),
        Some(_) => Err(TemplateProblem::NotScalar),
        None => Err(TemplateProblem::Missing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, TemplateError> {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let node = Node(object(json!({
            "uuid": "u-1",
            "name": null,
            "properties": {"size": 5, "tags": ["a", "b"]},
            "driver_info": {"ipmi_password": "p"},
            "driver_internal_info": {"agent_secret_token": "t"},
            "instance_info": {"configdrive": "c", "traits": {}},
        })));
        let ports = [object(json!({"address": "00:11"}))];
        fill(template, &node, &ports)
    }

    #[test]
    fn places_are_filled() {
        for (template, url) in [
            ("http://h/", "http://h/"),
            (
                "http://h/{node[uuid]}/{ports[0][address]}",
                "http://h/u-1/00:11",
            ),
            ("http://h/{node[properties][size]}", "http://h/5"),
            ("http://h/{node[properties][tags][1]}", "http://h/b"),
            ("http://h/{{x}}", "http://h/{x}"),
            ("http://h/{node[name]}", "http://h/None"),
        ] {
            assert_eq!(filled(template).unwrap(), url);
        }
    }

    #[test]
    fn a_place_that_cannot_be_filled_is_named() {
        for (template, why) in [
            ("http://h/{node[none]}", "{node[none]} does not exist"),
            ("http://h/{node}", "does not exist"),
            ("http://h/{ports[1][address]}", "does not exist"),
            ("http://h/{ports[x][address]}", "does not exist"),
            ("http://h/{self[x]}", "is unknown"),
            ("http://h/{node.__class__}", "is unknown"),
            ("http://h/{node[uuid].__class__}", "is not a list of keys"),
            ("http://h/{node[uuid]!r}", "is not a list of keys"),
            ("http://h/{node[uuid}", "has no closing bracket"),
            ("http://h/{node[uuid]", "without its other half"),
            ("http://h/}", "without its other half"),
            (
                "http://h/{node[properties]}",
                "is neither a text nor a number",
            ),
            (
                "http://h/{node[driver_info][ipmi_password]}",
                "holds credentials",
            ),
            (
                "http://h/{node[driver_internal_info][agent_secret_token]}",
                "holds credentials",
            ),
            (
                "http://h/{node[instance_info][configdrive]}",
                "holds credentials",
            ),
        ] {
            let error = filled(template).unwrap_err().to_string();
            assert!(error.contains(why), "{template}: {error}");
        }
    }
}
