//! A file imports only from lower floors or its own folder, and concurrency comes through one door.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The files of the crate from the ground up; those of one floor may know each other.
const FLOORS: [&[&str]; 5] = [
    &[
        "sync",
        "contents",
        "error",
        "tracing_events",
        "framing",
        "holders",
        "label",
        "metadata",
        "mode",
        "recording",
        "memory_options",
        "token",
    ],
    &["memory", "ref_count"],
    &["pool", "frame"],
    &["allocator"],
    &["com"],
];

/// What only `sync.rs` may name: everything else takes it from there.
const BEHIND_THE_DOOR: [&str; 5] = [
    "std::sync::",
    "core::sync::",
    "std::thread::park",
    "parking_lot::",
    "crossbeam_queue::",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Every source file but `lib.rs`, with its module's name and its text up to its tests and models.
fn files() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).unwrap();
        let module = inside
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| [line, "\n"])
            .collect();
        if module != "lib" {
            files.push((module.to_owned(), inside.to_owned(), code));
        }
    }
    assert!(files.len() > 10, "the sources were found");
    files
}

fn floor_of(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("{module} is on no floor: add it"))
}

#[test]
fn a_file_imports_only_from_lower_floors_or_its_own() {
    for (module, path, code) in files() {
        let floor = floor_of(&module);
        for imported in code.split("crate::").skip(1) {
            let imported: String = imported
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                floor_of(&imported) <= floor,
                "{} (floor {floor}) imports from {imported}",
                path.display()
            );
        }
    }
}

#[test]
fn atomics_locks_and_parking_come_through_one_door() {
    for (module, path, code) in files() {
        for name in BEHIND_THE_DOOR {
            assert!(
                module == "sync" || !code.contains(name),
                "{} names {name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_types_of_com_stay_in_its_module() {
    for (module, path, code) in files() {
        assert!(
            module == "com" || !code.contains("windows_core"),
            "{} names windows_core",
            path.display()
        );
    }
}

#[test]
fn the_root_lists_the_modules_in_the_order_of_the_floors() {
    let root = include_str!("../src/lib.rs");
    let floors: Vec<_> = root
        .lines()
        .map(|line| line.trim_start_matches("pub "))
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .map(floor_of)
        .collect();
    assert_eq!(floors.len(), FLOORS.concat().len());
    assert!(floors.is_sorted(), "{floors:?}");
}
