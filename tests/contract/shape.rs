//! The shape of the code, measured on its syntax: how long files and functions are, how many
//! parameters a function takes, that errors are types, that no two files import each other,
//! and that a type's name means one thing in the workspace.
//!
//! Test code is left out: items under `#[cfg(test)]` or a feature for tests, and the modules
//! that are declared so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, FnArg, GenericArgument, Item, PathArguments, ReturnType, Signature, Type, UseTree,
};

/// Lines of a file without its tests: half of the files, nine of ten, every one.
const FILE_MEDIAN: usize = 150;
const FILE_P90: usize = 370;
const FILE_MAX: usize = 600;

/// Lines of a function.
const FUNCTION_LINES: usize = 60;

/// Parameters of a function, `self` included.
const PARAMETERS: usize = 5;

/// Functions whose parameters another crate's trait decides.
const FOREIGN_SIGNATURES: &[&str] = &["verify_server_cert"];

/// What the rules below still find. A new finding is refused, and what is mended must be taken
/// from its list: the lists only get shorter.
const TEXT_ERRORS: &[&str] = &[];
const CIRCLES: &[&str] = &[];

/// One file of production code.
struct Source {
    /// Relative to the workspace.
    path: String,
    /// The package and the modules within it.
    module: Vec<String>,
    items: Vec<Item>,
    /// The modules that it declares.
    children: BTreeSet<String>,
    /// Lines without tests.
    lines: usize,
}

/// Every package of the workspace with code of its own.
fn packages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = fs::read_dir(root.join("crates")).unwrap();
    let mut found: Vec<_> = shared.map(|entry| entry.unwrap().path()).collect();
    found.extend(["agent", "shim", "clients/agentctl"].map(|program| root.join(program)));
    found.sort();
    found
}

/// Whether an item is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        let words: Vec<_> = condition
            .split(|character: char| !character.is_ascii_alphanumeric())
            .collect();
        (words.contains(&"test") || words.contains(&"fake")) && !words.contains(&"not")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The production code of the whole workspace, found from the module declarations.
fn workspace() -> Vec<Source> {
    let mut found = Vec::new();
    for package in packages() {
        let name = package.file_name().unwrap().to_str().unwrap().to_owned();
        let src = package.join("src");
        collect(&src.join("lib.rs"), &src, vec![name.clone()], &mut found);
        let main = src.join("main.rs");
        if main.is_file() {
            collect(&main, &src, vec![name, "main".to_owned()], &mut found);
        }
    }
    assert!(found.len() > 200, "only {} files were found", found.len());
    found
}

fn collect(path: &Path, folder: &Path, module: Vec<String>, found: &mut Vec<Source>) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut lines = text.lines().count();
    let (mut items, mut children) = (Vec::new(), BTreeSet::new());
    for item in file.items {
        if is_for_tests(attributes(&item)) {
            lines -= item.span().end().line + 1 - item.span().start().line;
            continue;
        }
        for name in declared_modules(&item, folder) {
            let inside = folder.join(&name);
            let alone = folder.join(format!("{name}.rs"));
            let next = if alone.is_file() {
                alone
            } else {
                inside.join("mod.rs")
            };
            let mut deeper = module.clone();
            deeper.push(name.clone());
            collect(&next, &inside, deeper, found);
            children.insert(name);
        }
        items.push(item);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    found.push(Source {
        path,
        module,
        items,
        children,
        lines,
    });
}

/// The modules with files of their own that an item declares. A macro declares those among its
/// words that are files.
fn declared_modules(item: &Item, folder: &Path) -> Vec<String> {
    match item {
        Item::Mod(declared) if declared.content.is_none() => vec![declared.ident.to_string()],
        Item::Macro(called) if called.ident.is_none() => {
            let words = called.mac.tokens.clone().into_iter();
            let words = words.filter_map(|token| match token {
                proc_macro2::TokenTree::Ident(word) => Some(word.to_string()),
                _ => None,
            });
            let is_file = |word: &String| {
                folder.join(format!("{word}.rs")).is_file()
                    || folder.join(word).join("mod.rs").is_file()
            };
            words.filter(is_file).collect()
        }
        _ => Vec::new(),
    }
}

/// Compares the findings with those that are listed.
fn assert_only(what: &str, found: &[String], listed: &[&str]) {
    let new: Vec<_> = found
        .iter()
        .filter(|one| !listed.contains(&one.as_str()))
        .collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    let mended: Vec<_> = listed
        .iter()
        .filter(|one| !found.iter().any(|other| other == *one))
        .collect();
    assert!(
        mended.is_empty(),
        "{what}: mended, take it from the list: {mended:#?}"
    );
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<_> = workspace()
        .into_iter()
        .map(|source| (source.lines, source.path))
        .collect();
    lengths.sort();
    let at = |share: usize| lengths[(lengths.len() * share / 100).min(lengths.len() - 1)].clone();
    for (share, limit) in [(50, FILE_MEDIAN), (90, FILE_P90), (100, FILE_MAX)] {
        let (lines, path) = at(share);
        assert!(
            lines <= limit,
            "{share} % of the files: {lines} lines, not {limit} ({path})"
        );
    }
}

/// What is measured of one function.
struct Function {
    name: String,
    lines: usize,
    parameters: usize,
    string_error: bool,
}

#[derive(Default)]
struct Functions(Vec<Function>);

impl Functions {
    fn of(source: &Source) -> Vec<Function> {
        let mut found = Self::default();
        source.items.iter().for_each(|item| found.visit_item(item));
        found.0
    }

    fn add(&mut self, signature: &Signature, end: usize) {
        self.0.push(Function {
            name: signature.ident.to_string(),
            lines: end + 1 - signature.span().start().line,
            parameters: signature.inputs.len(),
            string_error: has_string_error(&signature.output)
                || signature.inputs.iter().any(|input| match input {
                    FnArg::Typed(input) => type_has_string_error(&input.ty),
                    FnArg::Receiver(_) => false,
                }),
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, item.block.span().end().line);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.add(&item.sig, item.block.span().end().line);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.sig, item.span().end().line);
        visit::visit_trait_item_fn(self, item);
    }
}

fn has_string_error(output: &ReturnType) -> bool {
    match output {
        ReturnType::Default => false,
        ReturnType::Type(_, output) => type_has_string_error(output),
    }
}

/// Whether a type is, or holds, a `Result<_, String>`.
fn type_has_string_error(of: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
            if segment.ident == "Result"
                && let PathArguments::AngleBracketed(arguments) = &segment.arguments
                && let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.iter().nth(1)
                && error.path.is_ident("String")
            {
                self.0 = true;
            }
            visit::visit_path_segment(self, segment);
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(of);
    finder.0
}

#[test]
fn functions_do_one_thing() {
    let mut long = Vec::new();
    let mut wide = Vec::new();
    let mut untyped = Vec::new();
    for source in workspace() {
        for function in Functions::of(&source) {
            let place = format!("{} {}", source.path, function.name);
            if function.lines > FUNCTION_LINES {
                long.push(format!("{place}: {} lines", function.lines));
            }
            let foreign = FOREIGN_SIGNATURES.contains(&function.name.as_str());
            if function.parameters > PARAMETERS && !foreign {
                wide.push(format!("{place}: {} parameters", function.parameters));
            }
            if function.string_error {
                untyped.push(place);
            }
        }
    }
    assert_only(
        "errors are types with a source, not texts",
        &untyped,
        TEXT_ERRORS,
    );
    assert_only("too many parameters", &wide, &[]);
    assert_only("longer than 60 lines", &long, &[]);
}

/// Fields of an error that are its cause. As a text it has lost its type and its own causes.
const CAUSES: [&str; 6] = ["because", "cause", "error", "problem", "reason", "why"];

fn is_error(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let derived = list.tokens.to_string();
        list.path.is_ident("derive") && derived.split([',', ':', ' ']).any(is_name_of_error)
    })
}

/// `Error`, or what it is imported as.
fn is_name_of_error(name: &str) -> bool {
    matches!(name, "Error" | "ThisError")
}

#[test]
fn errors_keep_their_causes() {
    let mut found = Vec::new();
    for source in workspace() {
        for item in &source.items {
            let (name, fields): (_, Vec<&syn::Field>) = match item {
                Item::Struct(item) if is_error(&item.attrs) => {
                    (&item.ident, item.fields.iter().collect())
                }
                Item::Enum(item) if is_error(&item.attrs) => {
                    let variants = item.variants.iter();
                    (&item.ident, variants.flat_map(|one| &one.fields).collect())
                }
                _ => continue,
            };
            for field in fields {
                let is_text = matches!(&field.ty, Type::Path(path) if path.path.is_ident("String"));
                let field = field.ident.as_ref().map(ToString::to_string);
                let is_cause = field.is_some_and(|field| CAUSES.contains(&field.as_str()));
                if is_text && is_cause {
                    found.push(format!("{} {name}", source.path));
                }
            }
        }
    }
    assert_only("a cause is an error, not a text", &found, &[]);
}

/// The files of the workspace by module, and what each of them imports under another name.
struct Modules {
    files: BTreeMap<Vec<String>, usize>,
    imports: Vec<BTreeMap<String, Vec<String>>>,
}

impl Modules {
    fn new(sources: &[Source]) -> Self {
        let files = sources
            .iter()
            .map(|source| source.module.clone())
            .zip(0..)
            .collect();
        let imports = sources.iter().map(imports).collect();
        Self { files, imports }
    }

    /// The file in which a path from the root of a package ends.
    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        let known = (1..=path.len())
            .rev()
            .find(|length| self.files.contains_key(&path[..*length]))?;
        let file = self.files[&path[..known]];
        match path.get(known) {
            Some(name) if depth < 8 => match self.imports[file].get(name) {
                Some(imported) => self.resolve(imported, depth + 1).or(Some(file)),
                None => Some(file),
            },
            _ => Some(file),
        }
    }
}

/// A path as it is written in a module, from the root of its package; `None` when it leads to
/// another crate.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut base = match path.first()?.as_str() {
        "crate" => module[..1].to_vec(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    let mut rest = &path[1..];
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The leaves of a `use` tree: the full path, and the name that it has here.
fn leaves(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|tree| leaves(tree, before, found)),
        UseTree::Name(name) if name.ident == "self" => {
            let last = before.last().cloned().unwrap_or_default();
            found.push((before.clone(), last));
        }
        UseTree::Name(name) => found.push(leaf(before, &name.ident, &name.ident)),
        UseTree::Rename(rename) => found.push(leaf(before, &rename.ident, &rename.rename)),
        UseTree::Glob(_) => found.push((before.clone(), "*".to_owned())),
    }
}

fn leaf(before: &[String], name: &syn::Ident, here: &syn::Ident) -> (Vec<String>, String) {
    let mut path = before.to_vec();
    path.push(name.to_string());
    (path, here.to_string())
}

/// A path in `use` is relative to the file when it starts with a module of the file.
fn from_root(source: &Source, path: &[String]) -> Option<Vec<String>> {
    absolute(&source.module, path).or_else(|| {
        let first = path.first()?;
        source
            .children
            .contains(first)
            .then(|| source.module.iter().chain(path).cloned().collect())
    })
}

fn imports(source: &Source) -> BTreeMap<String, Vec<String>> {
    let mut found = Vec::new();
    for item in &source.items {
        if let Item::Use(item) = item {
            leaves(&item.tree, &mut Vec::new(), &mut found);
        }
    }
    let resolved = found
        .into_iter()
        .filter_map(|(path, name)| Some((name, from_root(source, &path)?)));
    resolved.collect()
}

/// Every path that the code of a file names. What a file only passes on (`pub use`) is left
/// out: a module's face names all that is in it.
struct Paths<'a> {
    source: &'a Source,
    found: BTreeSet<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !matches!(item.vis, syn::Visibility::Inherited) {
            return;
        }
        let mut found = Vec::new();
        leaves(&item.tree, &mut Vec::new(), &mut found);
        let resolved = found
            .iter()
            .filter_map(|(path, _)| from_root(self.source, path));
        self.found.extend(resolved);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.found.extend(from_root(self.source, &segments));
        visit::visit_path(self, path);
    }
}

#[test]
fn no_files_import_each_other() {
    let sources = workspace();
    let modules = Modules::new(&sources);
    let arrows: Vec<BTreeSet<usize>> = sources
        .iter()
        .map(|source| {
            let mut paths = Paths {
                source,
                found: BTreeSet::new(),
            };
            source.items.iter().for_each(|item| paths.visit_item(item));
            let targets = paths
                .found
                .iter()
                .filter_map(|path| modules.resolve(path, 0));
            // A module may use what the module above it declares; itself is no arrow.
            let declared_above =
                |target: &usize| source.module.starts_with(&sources[*target].module);
            targets.filter(|target| !declared_above(target)).collect()
        })
        .collect();
    let reach: Vec<_> = (0..sources.len())
        .map(|start| reachable(start, &arrows))
        .collect();
    let mut circles = BTreeSet::new();
    for start in 0..sources.len() {
        let mut members: Vec<_> = reach[start]
            .iter()
            .filter(|other| reach[**other].contains(&start))
            .map(|other| sources[*other].path.as_str())
            .collect();
        members.sort_unstable();
        if !members.is_empty() {
            circles.insert(members.join(" "));
        }
    }
    let circles: Vec<_> = circles.into_iter().collect();
    assert_only("files in a circle", &circles, CIRCLES);
}

fn reachable(start: usize, arrows: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open: Vec<_> = arrows[start].iter().copied().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(&arrows[next]);
        }
    }
    found
}

#[test]
fn a_type_name_means_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in workspace() {
        for item in &source.items {
            let name = match item {
                Item::Struct(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                _ => continue,
            };
            places
                .entry(name.to_string())
                .or_default()
                .push(source.path.clone());
        }
    }
    let several: Vec<_> = places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, _)| name)
        .collect();
    assert_only("one name for several types", &several, &[]);
}
