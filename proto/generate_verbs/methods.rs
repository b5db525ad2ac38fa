//! The table of the roles that the methods of services need.

use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::{DescriptorPool, MethodDescriptor};

use super::notes::PACKAGE;
use super::rust;

/// A row for each method of each service, sorted by path.
pub fn generate(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut rows = Vec::new();
    for service in pool.services() {
        if service.package_name() != PACKAGE {
            continue;
        }
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            rows.push((path, rust::role(noted(pool, &method)?)?));
        }
    }
    rows.sort_unstable();
    let mut text = format!(
        "/// What each method needs, in the order of the paths.\n\
         static METHODS: [(&str, CallerRole); {}] = [\n",
        rows.len()
    );
    for (path, role) in rows {
        writeln!(text, "    ({path:?}, {role}),")?;
    }
    text.push_str("];\n");
    Ok(text)
}

/// The number of the role that is noted on a method; 0 if there is none.
fn noted(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<i32, Box<dyn Error>> {
    let extension = pool
        .get_extension_by_name(&format!("{PACKAGE}.role"))
        .ok_or("verb.proto has no extension role")?;
    let options = method.options();
    let role = options.get_extension(&extension);
    Ok(role
        .as_enum_number()
        .ok_or("the extension role is no enum")?)
}
