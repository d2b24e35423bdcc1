//! Structure of the crate: layers, import circles, and the facade over concurrency.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules, bottom-up. A module imports only from its own layer or a lower one, and never
/// in a circle.
const LAYERS: [&[&str]; 5] = [
    &[
        "sync",
        "contents",
        "crate_copy",
        "error",
        "framing",
        "holders",
        "label",
        "level",
        "memory_options",
        "metadata",
        "mode",
        "negotiation",
        "panics",
        "recording",
        "share",
        "token",
        "tracing_events",
        "video",
    ],
    &["memory"],
    &["diagnostics", "pool", "frame", "frame_pool"],
    &["allocator"],
    &["ref_count", "com"],
];

/// Paths that only `sync` may name: all other modules import their types from it.
const BEHIND_THE_FACADE: [&str; 5] = [
    "std::sync::",
    "core::sync::",
    "std::thread::park",
    "parking_lot::",
    "crossbeam_queue::",
];

/// A path inside the crate, from its root: `["pool", "slot"]`.
type Module = Vec<String>;

/// A source file: its module, its path for messages, and its code without comments and tests.
struct Source {
    module: Module,
    path: PathBuf,
    code: String,
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                paths(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Removes comments, and everything from the first test module on.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\n").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Returns all source files but `lib.rs`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources: Vec<_> = paths(&root)
        .into_iter()
        .filter_map(|full| {
            let path = full.strip_prefix(&root).unwrap().to_owned();
            let mut module: Module = path
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if module.last().unwrap() == "mod" {
                module.pop();
            }
            let code = code_of(&fs::read_to_string(full).unwrap());
            (module != ["lib"]).then_some(Source { module, path, code })
        })
        .collect();
    assert!(sources.len() > 40, "found only {}", sources.len());
    sources
}

/// Splits the text behind `crate::` or `super::` into the paths that it names: one, or those of a
/// group in braces.
fn named_paths(text: &str) -> Vec<Module> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .unwrap_or(text.len());
    let head: Module = text[..end]
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let is_group = end == 0 || text[..end].ends_with("::");
    if !is_group || !text[end..].starts_with('{') {
        return vec![head];
    }
    let mut depth = 0;
    let mut start = end + 1;
    let mut paths = Vec::new();
    for (at, c) in text[end..].char_indices() {
        let at = end + at;
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 1 => {
                let inner = text[start..at].trim();
                if !inner.is_empty() {
                    paths.extend(
                        named_paths(inner)
                            .into_iter()
                            .map(|path| head.iter().cloned().chain(path).collect::<Module>()),
                    );
                }
                start = at + 1;
                if c == '}' {
                    return paths;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    paths
}

/// Returns the paths from the root of the crate that a file names.
fn imports(source: &Source) -> Vec<Module> {
    let is_folder = source.path.ends_with("mod.rs");
    let mut imports = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        imports.extend(named_paths(&source.code[at + "crate::".len()..]));
    }
    for (prefix, levels) in [("self::", 0), ("super::", 1)] {
        for (at, _) in source.code.match_indices(prefix) {
            // A `super::` that follows another one was counted with it.
            if source.code[..at].ends_with("super::") {
                continue;
            }
            let mut text = &source.code[at + prefix.len()..];
            let mut up = levels;
            while let Some(rest) = text.strip_prefix("super::") {
                text = rest;
                up += 1;
            }
            // `super` of a folder's `mod.rs` is the folder's parent, as of any module.
            let keep = source.module.len().saturating_sub(up);
            if up == 0 && !is_folder {
                // `self::` of a file with no children: an item of its own.
                continue;
            }
            imports.extend(named_paths(text).into_iter().map(|path| {
                let base = source.module[..keep].iter().cloned();
                base.chain(path).collect::<Module>()
            }));
        }
    }
    imports
}

/// Returns the file that defines what `path` names: the file of its longest prefix that is a
/// module. The re-exports of a folder are followed to the file that they name.
fn defining_file(path: &Module, modules: &BTreeMap<Module, Source>) -> Option<Module> {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].to_vec())
        .find(|prefix| modules.contains_key(prefix))
        .map(|file| {
            let item = path.get(file.len());
            let source = &modules[&file];
            let re_exported = item.and_then(|item| re_export(source, item));
            match re_exported.filter(|target| modules.contains_key(target)) {
                Some(target) => target,
                None => file,
            }
        })
}

/// Returns the child file that a folder's `mod.rs` re-exports `item` from.
fn re_export(source: &Source, item: &str) -> Option<Module> {
    source
        .code
        .match_indices("use self::")
        .flat_map(|(at, text)| named_paths(&source.code[at + text.len()..]))
        .find(|path| path.len() > 1 && path.last().unwrap() == item)
        .map(|path| {
            let child = path[..path.len() - 1].iter().cloned();
            source.module.iter().cloned().chain(child).collect()
        })
}

/// The imports of each file, by the files that define what is imported.
///
/// A folder's `mod.rs` does not import what it only re-exports.
fn graph() -> BTreeMap<Module, BTreeSet<Module>> {
    let modules: BTreeMap<Module, Source> = sources()
        .into_iter()
        .map(|source| (source.module.clone(), source))
        .collect();
    modules
        .iter()
        .map(|(module, source)| {
            let imported = imports(source)
                .iter()
                .filter_map(|path| defining_file(path, &modules))
                .filter(|target| target != module)
                .collect();
            (module.clone(), imported)
        })
        .collect()
}

/// Returns a circle in the graph, if there is one.
fn circle(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    fn visit(
        at: &Module,
        graph: &BTreeMap<Module, BTreeSet<Module>>,
        path: &mut Vec<Module>,
        done: &mut BTreeSet<Module>,
    ) -> Option<Vec<Module>> {
        if let Some(start) = path.iter().position(|known| known == at) {
            return Some(path[start..].to_vec());
        }
        if !done.insert(at.clone()) {
            return None;
        }
        path.push(at.clone());
        let found = graph
            .get(at)
            .into_iter()
            .flatten()
            .find_map(|next| visit(next, graph, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|start| visit(start, graph, &mut Vec::new(), &mut done))
}

fn text(circle: &[Module]) -> String {
    let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
    names.join(" -> ")
}

fn layer_of(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("{module} is in no layer: add it"))
}

#[test]
fn a_module_imports_only_from_its_layer_or_a_lower_one() {
    for (module, imported) in graph() {
        let layer = layer_of(&module[0]);
        for target in imported {
            assert!(
                layer_of(&target[0]) <= layer,
                "{} (layer {layer}) imports {}",
                module.join("::"),
                target.join("::")
            );
        }
    }
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    if let Some(circle) = circle(&graph()) {
        panic!("{}", text(&circle));
    }
}

#[test]
fn folders_do_not_import_each_other_in_a_circle() {
    for depth in 1..=3 {
        let folder = |module: &Module| module[..module.len().min(depth)].to_vec();
        let mut folders: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, imported) in graph() {
            let from = folder(&module);
            let targets = imported.iter().map(folder).filter(|target| *target != from);
            folders.entry(from.clone()).or_default().extend(targets);
        }
        if let Some(circle) = circle(&folders) {
            panic!("{}", text(&circle));
        }
    }
}

#[test]
fn a_circle_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let mut graph: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    graph.insert(module("a"), BTreeSet::from([module("b")]));
    graph.insert(module("b"), BTreeSet::from([module("c"), module("d")]));
    assert_eq!(circle(&graph), None);
    graph.insert(module("d"), BTreeSet::from([module("b")]));
    assert_eq!(text(&circle(&graph).unwrap()), "b -> d");
}

#[test]
fn imports_are_read_from_all_kinds_of_paths() {
    let read = |path: &str, module: &[&str], code: &str| {
        let source = Source {
            module: module.iter().map(|&part| part.to_owned()).collect(),
            path: path.into(),
            code: code.to_owned(),
        };
        let names = imports(&source)
            .iter()
            .map(|path| path.join("::"))
            .collect::<Vec<_>>();
        names.join(" ")
    };
    let file = |code: &str| read("pool/core.rs", &["pool", "core"], code);
    assert_eq!(file("use crate::sync::Arc;"), "sync::Arc");
    assert_eq!(file("use super::slot;"), "pool::slot");
    assert_eq!(file("x: super::super::frame::Frame"), "frame::Frame");
    assert_eq!(
        file("use super::{slot, free_list::{self, Bits}};"),
        "pool::slot pool::free_list::self pool::free_list::Bits"
    );
    let folder = |code: &str| read("pool/mod.rs", &["pool"], code);
    assert_eq!(folder("use self::core::Core;"), "pool::core::Core");
    assert_eq!(folder("use super::frame::Frame;"), "frame::Frame");
}

#[test]
fn atomics_locks_and_parking_are_named_only_by_the_facade() {
    for Source { module, path, code } in sources() {
        for name in BEHIND_THE_FACADE {
            assert!(
                module[0] == "sync" || !code.contains(name),
                "{} names {name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_types_of_com_stay_in_its_module() {
    for Source { module, path, code } in sources() {
        assert!(
            module[0] == "com" || !code.contains("windows_core"),
            "{} names windows_core",
            path.display()
        );
    }
}

#[test]
fn the_root_lists_the_modules_bottom_up() {
    let root = include_str!("../src/lib.rs");
    let modules: Vec<_> = root
        .lines()
        .map(|line| line.trim_start_matches("pub "))
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let mut listed: BTreeSet<&str> = BTreeSet::new();
    let graph = graph();
    for module in modules {
        listed.insert(module);
        for (from, imported) in &graph {
            if from[0] == module {
                for target in imported {
                    assert!(
                        listed.contains(target[0].as_str()),
                        "{module} is listed before {}, which it imports",
                        target[0]
                    );
                }
            }
        }
    }
    assert_eq!(listed.len(), LAYERS.concat().len());
}

/// Returns the modules that a file allows to contain `unsafe` code: those whose declaration carries
/// the attribute, or the file's own module if the attribute is on anything else.
fn modules_with_unsafe_code(module: &[String], text: &str) -> BTreeSet<String> {
    text.match_indices("unsafe_code")
        .filter(|(at, _)| {
            // Not in a comment, which has no `#[`.
            let before = text[..*at].trim_end();
            ["#[expect(", "#![expect(", "#[allow(", "#![allow("]
                .iter()
                .any(|attribute| before.ends_with(attribute))
        })
        .map(|(at, _)| {
            let attribute_end = at + text[at..].find(")]").unwrap() + ")]".len();
            let item = text[attribute_end..].trim_start();
            let child = item
                .split([';', '{', '\n'])
                .next()
                .and_then(|head| head.trim_start_matches("pub(crate) ").strip_prefix("mod "))
                .filter(|_| item.lines().next().unwrap().ends_with(';'));
            let path = module.iter().map(String::as_str).chain(child);
            path.collect::<Vec<_>>().join("::")
        })
        .collect()
}

#[test]
fn the_page_on_unsafe_code_names_each_module_that_may_contain_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut allowed = modules_with_unsafe_code(&[], include_str!("../src/lib.rs"));
    for source in sources() {
        let text = fs::read_to_string(root.join(&source.path)).unwrap();
        allowed.extend(modules_with_unsafe_code(&source.module, &text));
    }
    let page = include_str!("../docs/safety.md");
    let (_, table) = page.split_once("\n## Modules\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, allowed, "left: docs/safety.md, right: src");
}

#[test]
fn modules_with_unsafe_code_are_found_however_they_are_allowed() {
    let found = |text: &str| {
        let modules = modules_with_unsafe_code(&["pool".to_owned()], text);
        modules.into_iter().collect::<Vec<_>>().join(" ")
    };
    let reason = "reason = \"it is so\"";
    assert_eq!(
        found(&format!("#[expect(unsafe_code, {reason})]\nmod a;")),
        "pool::a"
    );
    assert_eq!(
        found(&format!(
            "#[expect(\n    unsafe_code,\n    {reason}\n)]\npub(crate) mod b;\n"
        )),
        "pool::b"
    );
    assert_eq!(
        found(&format!("#[expect(unsafe_code, {reason})]\nfn c() {{}}")),
        "pool"
    );
    assert_eq!(
        found(&format!(
            "mod d {{\n    #![expect(unsafe_code, {reason})]\n}}"
        )),
        "pool"
    );
    assert_eq!(found("// carry an `expect(unsafe_code)` here\nmod e;"), "");
}
