//! The reference in `docs/api.md` is the protocol's own comments.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

const DOCUMENTED: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/documented_descriptor_set.bin"));
const PACKAGE: &str = ".ironic.agent.v1.";

const HEAD: &str = "# API reference

Services, messages and enumerations of package `ironic.agent.v1`. This page is made of the comments in
[proto/ironic/agent/v1](../proto/ironic/agent/v1) by `UPDATE_GOLDEN=1 cargo test --test contract api_reference`; it is not to be
edited. How they are used says [orchestrators.md](orchestrators.md).
";

// Numbers of fields in descriptor.proto, of which the paths of comments are made.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const MEMBERS: i32 = 2;

/// A file with its comments by their paths.
struct Documented {
    file: FileDescriptorProto,
    comments: HashMap<Vec<i32>, String>,
}

impl Documented {
    fn new(file: FileDescriptorProto) -> Self {
        let info = file.source_code_info.clone().unwrap_or_default();
        let comments = info.location.into_iter().map(|location| {
            let comment = location.leading_comments.unwrap_or_default();
            let lines: Vec<&str> = comment.lines().map(str::trim).collect();
            (location.path, lines.join("\n").trim().to_owned())
        });
        Self {
            comments: comments.collect(),
            file,
        }
    }

    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map_or("", String::as_str)
    }

    /// The comment in one line of a table.
    fn cell(&self, path: &[i32]) -> String {
        self.comment(path).replace('\n', " ").replace('|', "\\|")
    }
}

fn at(position: usize) -> i32 {
    i32::try_from(position).unwrap()
}

/// A type with a link to where it is described.
fn link(name: &str) -> String {
    match name.strip_prefix(PACKAGE) {
        Some(name) => format!("[{name}](#{})", name.to_lowercase()),
        None => format!("`{}`", name.trim_start_matches('.')),
    }
}

fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        nested
            .options
            .as_ref()
            .is_some_and(prost_types::MessageOptions::map_entry)
            && field.type_name().ends_with(&format!(".{}", nested.name()))
    });
    if let Some(entry) = entry {
        let of = |position: usize| field_type(entry, &entry.field[position]);
        return format!("map of {} to {}", of(0), of(1));
    }
    let name = match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        scalar => format!("`{}`", format!("{scalar:?}").to_lowercase()),
    };
    match field.label() {
        Label::Repeated => format!("list of {name}"),
        _ if field.proto3_optional() => format!("{name}, optional"),
        _ => name,
    }
}

fn write_message(text: &mut String, documented: &Documented, position: usize) {
    let message: &DescriptorProto = &documented.file.message_type[position];
    let path = [MESSAGES, at(position)];
    write!(
        text,
        "\n### {}\n\n{}\n",
        message.name(),
        documented.comment(&path)
    )
    .unwrap();
    if message.field.is_empty() {
        return;
    }
    text.push_str("\n| field | type | |\n|---|---|---|\n");
    for (number, field) in message.field.iter().enumerate() {
        let comment = documented.cell(&[path[0], path[1], MEMBERS, at(number)]);
        let one_of = match field.oneof_index {
            Some(index) if !field.proto3_optional() => {
                let one_of = &message.oneof_decl[usize::try_from(index).unwrap()];
                format!("One of `{}`. ", one_of.name())
            }
            _ => String::new(),
        };
        let kind = field_type(message, field);
        writeln!(text, "| `{}` | {kind} | {one_of}{comment} |", field.name()).unwrap();
    }
}

fn write_enum(text: &mut String, documented: &Documented, position: usize) {
    let described: &EnumDescriptorProto = &documented.file.enum_type[position];
    let path = [ENUMS, at(position)];
    write!(
        text,
        "\n### {}\n\n{}\n",
        described.name(),
        documented.comment(&path)
    )
    .unwrap();
    text.push_str("\n| value | | |\n|---:|---|---|\n");
    for (number, value) in described.value.iter().enumerate() {
        let comment = documented.cell(&[path[0], path[1], MEMBERS, at(number)]);
        writeln!(
            text,
            "| {} | `{}` | {comment} |",
            value.number(),
            value.name()
        )
        .unwrap();
    }
}

fn write_service(text: &mut String, documented: &Documented, position: usize) {
    let service: &ServiceDescriptorProto = &documented.file.service[position];
    let path = [SERVICES, at(position)];
    write!(
        text,
        "\n## {}\n\n{}\n",
        service.name(),
        documented.comment(&path)
    )
    .unwrap();
    text.push_str("\n| method | request | answer | |\n|---|---|---|---|\n");
    for (number, method) in service.method.iter().enumerate() {
        let comment = documented.cell(&[path[0], path[1], MEMBERS, at(number)]);
        let side = |streams: bool, name: &str| {
            format!("{}{}", if streams { "stream of " } else { "" }, link(name))
        };
        writeln!(
            text,
            "| `{}` | {} | {} | {comment} |",
            method.name(),
            side(method.client_streaming(), method.input_type()),
            side(method.server_streaming(), method.output_type()),
        )
        .unwrap();
    }
}

fn reference() -> String {
    let files = FileDescriptorSet::decode(DOCUMENTED).unwrap().file;
    let files: Vec<Documented> = files.into_iter().map(Documented::new).collect();
    let mut text = HEAD.to_owned();
    for documented in &files {
        for position in 0..documented.file.service.len() {
            write_service(&mut text, documented, position);
        }
    }
    for documented in &files {
        let name = documented.file.name().rsplit('/').next().unwrap();
        write!(text, "\n## {name}\n").unwrap();
        for position in 0..documented.file.message_type.len() {
            write_message(&mut text, documented, position);
        }
        for position in 0..documented.file.enum_type.len() {
            write_enum(&mut text, documented, position);
        }
    }
    text
}

#[test]
fn api_reference_is_the_comments_of_the_protocol() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let wrong = text
        .lines()
        .zip(written.lines())
        .find(|(is, was)| is != was);
    assert!(
        text == written,
        "docs/api.md is not current, at {wrong:?}: UPDATE_GOLDEN=1 cargo test --test contract api_reference"
    );
}

#[test]
fn links_of_the_api_reference_lead_somewhere() {
    let text = reference();
    let headings: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### ").or(line.strip_prefix("## ")))
        .map(str::to_lowercase)
        .collect();
    let targets = text.split("](#").skip(1);
    let targets: BTreeSet<&str> = targets.filter_map(|rest| rest.split(')').next()).collect();
    let lost: Vec<&&str> = targets
        .iter()
        .filter(|target| !headings.contains(**target))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}
