//! Reads the sources and holds the rules of ARCHITECTURE.md: floors, homes of packages, purity, sizes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers stand outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that may name a module of their own floor.
const SIBLINGS: &[(&str, &[&str])] =
    &[("operator", &["source", "sink"]), ("testing", &["stream", "runtime"])];

/// The home of each package inside the engine, by path below `engine/src/`.
const HOMES: &[(&str, &[&str])] = &[
    ("actix", &["runtime/"]),
    ("anstream", &["cli"]),
    ("atomic_waker", &["channel/"]),
    ("bumpalo", &["batch/"]),
    ("clap", &["cli"]),
    ("crc32c", &["wal/"]),
    ("crossbeam_channel", &["channel/"]),
    ("ctrlc", &["cli"]),
    ("dashmap", &["runtime/"]),
    ("hashbrown", &["operator/", "state/keyed/"]),
    ("indicatif", &["cli"]),
    ("libc", &["runtime/memory/"]),
    ("rkyv", &["batch/", "lib.rs"]),
    ("rocksdb", &["state/rocks.rs"]),
    ("rustix", &["storage/directory.rs"]),
    ("serde_json", &["cli"]),
    ("tracing", &["runtime/", "state/rocks.rs"]),
    ("xxhash_rust", &["batch/"]),
];

/// What some words are allowed in, and why they are not elsewhere.
const WORDS: &[(&str, &[&str], &str)] = &[
    // One call of `mallopt`, which has no safe wrapper.
    ("unsafe {", &["batch/", "runtime/memory/"], "`unsafe` stays in `batch/`, where Miri looks"),
    ("unsafe fn", &[], "no function of ours is unsafe to call"),
    ("unsafe impl", &[], "no implementation of ours is unsafe"),
    (".unwrap()", &[], "outside of tests nothing unwraps: say what the reader can do"),
    (".expect(", &[], "outside of tests nothing expects: say what the reader can do"),
    ("panic!(", &[], "outside of tests nothing panics: return an error"),
    ("todo!(", &[], "nothing is left to do in committed code"),
    ("unimplemented!(", &[], "nothing is left unimplemented in committed code"),
    // The client of a framed socket is in no topology: its caller wants to wait.
    ("thread::sleep", &["connectors/src/framed/client.rs"], "an actor never blocks"),
    ("Instant::now", &["time.rs"], "time comes from the clock of the context"),
    ("SystemTime::now", &["time.rs"], "time comes from the clock of the context"),
    ("std::thread", &["runtime/", "config.rs", "cli"], "threads are started in `runtime/`"),
    ("unbounded(", &[], "every queue has a limit"),
    ("do_send(", &["runtime/"], "mailboxes are for control: no row, watermark or barrier is in one"),
    ("println!(", &["cli"], "a library prints nothing"),
    ("process::exit", &["cli"], "return an error: an exit skips destructors"),
];

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const FOLDER_FILES_MAX: usize = 12;
const COLUMNS_MAX: usize = 115;

/// The folders that the rules about every file hold for.
const FOLDERS: &[&str] = &[
    "engine/src",
    "engine/derive",
    "engine/tests",
    "engine/fuzz",
    "connectors",
    "models",
    "examples",
    "benches/src",
];

/// A source file.
struct File {
    /// From the top of the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    /// Lines with their numbers, without comments and what follows `#[cfg(test)]`.
    fn code(&self) -> Vec<(usize, String)> {
        let product = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        product.map(without_comment).enumerate().map(|(index, line)| (index + 1, line)).collect()
    }

    /// Path below `engine/src/`.
    fn below(&self) -> &str {
        self.path.trim_start_matches("engine/src/")
    }

    /// The top module of the engine that the file belongs to.
    fn module(&self) -> &str {
        self.below().split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// How many `super::` lead from the file to the crate.
    fn depth(&self) -> usize {
        self.below().split('/').filter(|part| *part != "mod.rs").count()
    }
}

/// Cuts a line at `//` outside of a string.
fn without_comment(line: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        match character {
            '\\' if in_string => escaped = !escaped,
            '"' if !escaped && before != '\'' => in_string = !in_string,
            '/' if !in_string && before == '/' => return line[..at - 1].to_owned(),
            _ => escaped = false,
        }
        before = character;
    }
    line.to_owned()
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files below a folder of the repository, in order.
fn files(folder: &str) -> Vec<File> {
    let (top, mut found) = (top(), Vec::new());
    let mut open = vec![top.join(folder)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&top).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

fn all_files() -> Vec<File> {
    FOLDERS.iter().flat_map(|folder| files(folder)).collect()
}

fn refuse(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} broken:\n  {}\n", broken.len(), broken.join("\n  "));
}

fn is_word(text: &str, at: usize, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    let before = text[..at].chars().next_back().is_some_and(part);
    let after = text[at + word.len()..].chars().next().is_some_and(part);
    !before && !after
}

fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| is_word(line, at, word))
}

fn leading_word(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The floor of each module, as the table in ARCHITECTURE.md draws it.
fn floors() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## The floors").nth(1).expect("ARCHITECTURE.md has no section `The floors`");
    let table = section.split("```text\n").nth(1).and_then(|table| table.split("```").next()).unwrap();
    let mut floors = BTreeMap::new();
    for line in table.lines() {
        let line: String = line.split('(').map(|part| part.rsplit(')').next().unwrap()).collect();
        let mut words = line.split_whitespace();
        let floor = words.next().unwrap().parse().unwrap();
        floors.extend(words.map(|module| (module.to_owned(), floor)));
    }
    floors
}

/// The same table in the documentation of the crate.
fn floors_in_docs() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(top().join("engine/src/lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.trim_start_matches("//! |").split('|').map(str::trim);
        if let Some(floor) = cells.next().and_then(|cell| cell.parse().ok()) {
            let modules = cells.next().unwrap().split('`').skip(1).step_by(2);
            floors.extend(modules.map(|module| (module.to_owned(), floor)));
        }
    }
    floors
}

/// The top modules that a file names, with the line.
fn named(file: &File) -> Vec<(usize, String)> {
    let to_crate = "super::".repeat(file.depth());
    let mut found = Vec::new();
    for (number, line) in file.code() {
        for prefix in ["crate::", to_crate.as_str()] {
            for (at, _) in line.match_indices(prefix) {
                if prefix == "crate::" && !is_word(&line, at, "crate") && !line[..at].ends_with('$') {
                    continue;
                }
                if prefix != "crate::" && line[..at].ends_with("super::") {
                    continue;
                }
                let rest = &line[at + prefix.len()..];
                match rest.strip_prefix('{') {
                    Some(group) => found.extend(top_names(group).into_iter().map(|name| (number, name))),
                    None => found.push((number, leading_word(rest).to_owned())),
                }
            }
        }
    }
    found
}

/// First names of the paths in `{a::b, c::{d, e}, f}`.
fn top_names(group: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(character),
        }
    }
    parts.iter().map(|part| leading_word(part.trim()).to_owned()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn a_module_names_lower_floors_only() {
    let floors = floors();
    let mut broken = Vec::new();
    for file in files("engine/src").iter().filter(|file| file.below() != "lib.rs") {
        let Some(own) = floors.get(file.module()) else {
            broken.push(format!("every module has a floor in ARCHITECTURE.md: `{}` has none", file.module()));
            continue;
        };
        for (line, module) in named(file) {
            let siblings =
                SIBLINGS.iter().find(|(name, _)| *name == file.module()).map_or(&[][..], |(_, all)| all);
            let Some(floor) = floors.get(&module) else { continue };
            if module != file.module() && floor >= own && !siblings.contains(&module.as_str()) {
                broken.push(format!(
                    "a module names lower floors only: {}:{line} in `{}` (floor {own}) names `{module}` (floor \
                     {floor})",
                    file.path,
                    file.module()
                ));
            }
        }
    }
    refuse(broken);
}

#[test]
fn every_module_has_a_floor_and_every_floor_its_modules() {
    let listed: BTreeSet<String> = floors().into_keys().collect();
    let found: BTreeSet<String> = files("engine/src")
        .iter()
        .map(|file| file.module().to_owned())
        .filter(|module| module != "lib")
        .collect();
    assert_eq!(listed, found, "the floors of ARCHITECTURE.md are not the modules of engine/src");
    assert_eq!(floors_in_docs(), floors(), "lib.rs draws other floors than ARCHITECTURE.md");
}

#[test]
fn only_tests_name_the_testing_module() {
    let mut broken = Vec::new();
    for file in
        files("engine/src").iter().filter(|file| file.module() != "testing" && file.below() != "lib.rs")
    {
        for (line, module) in named(file) {
            if module == "testing" {
                broken.push(format!("nothing that runs in production names `testing`: {}:{line}", file.path));
            }
        }
    }
    refuse(broken);
}

#[test]
fn a_package_is_used_in_its_home_only() {
    let mut broken = Vec::new();
    for file in files("engine/src") {
        for (number, line) in file.code() {
            for (package, homes) in HOMES {
                let path = format!("{package}::");
                let used = line.match_indices(&path).any(|(at, _)| {
                    is_word(&line, at, package) && !line[..at].ends_with("::") && !line[..at].ends_with('$')
                });
                if used && !homes.iter().any(|home| file.below().starts_with(home)) {
                    broken.push(format!("`{package}` lives in {homes:?} only: {}:{number}", file.path));
                }
            }
        }
    }
    refuse(broken);
}

#[test]
fn metric_names_stand_in_one_list() {
    let mut broken = Vec::new();
    for file in files("engine/src").iter().filter(|file| file.below() != "telemetry.rs") {
        for (number, line) in file.code() {
            let literal = line.contains("\"headwater_");
            if literal
                || (names(&line, "metrics") && line.contains("metrics::") && !line.contains("telemetry::"))
            {
                broken.push(format!("metric names stand in telemetry.rs: {}:{number}", file.path));
            }
        }
    }
    refuse(broken);
}

#[test]
fn fail_points_stand_in_one_list() {
    let mut listed: Vec<_> = headwater::failpoint::POINTS.iter().map(|name| (*name).to_owned()).collect();
    let mut passed = Vec::new();
    for file in files("engine/src").iter().chain(&files("connectors/src")) {
        for (_, line) in file.code() {
            let names = line.split("failpoint::pass(\"").skip(1);
            passed.extend(names.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    listed.sort();
    passed.sort();
    assert_eq!(listed, passed, "`failpoint::POINTS` is not what the sources pass, each once");
}

#[test]
fn words_that_must_not_appear_do_not() {
    let mut broken = Vec::new();
    for folder in ["engine/src", "engine/derive/src", "connectors/src", "models/src"] {
        for file in files(folder) {
            for (number, line) in file.code() {
                for (word, homes, rule) in WORDS {
                    let in_engine = file.path.starts_with("engine/src/");
                    let is_home =
                        |home: &&str| file.path == *home || in_engine && file.below().starts_with(*home);
                    let home = homes.iter().any(is_home);
                    // The engine's actors never block; a connector may need a thread or the screen.
                    let engine_only = matches!(*word, "std::thread" | "println!(");
                    let counts = !engine_only || folder == "engine/src";
                    if counts && line.contains(word) && !home {
                        broken.push(format!("{rule}: {}:{number}", file.path));
                    }
                }
            }
        }
    }
    refuse(broken);
}

#[test]
fn operators_and_windows_are_pure() {
    const IMPURE: &[&str] =
        &["crate::channel", "std::thread", "std::fs", "std::net", "std::env", "actix", "rocksdb"];
    let pure = |file: &&File| matches!(file.module(), "operator" | "window" | "source" | "sink");
    let mut broken = Vec::new();
    for file in files("engine/src").iter().filter(pure) {
        for (number, line) in file.code() {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                broken.push(format!(
                    "`{}` is pure given state, time and input: {}:{number} names {word}",
                    file.module(),
                    file.path
                ));
            }
        }
    }
    refuse(broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = all_files().into_iter().filter(|file| {
        let first = file.text.lines().next().unwrap_or_default();
        !first.starts_with("//! ") && !first.starts_with("#![doc = ") && !file.path.contains("/tests/derive/")
    });
    refuse(silent.map(|file| format!("a file opens with one `//!` sentence: {}:1", file.path)).collect());
}

#[test]
fn files_folders_and_lines_stay_small() {
    let mut broken = Vec::new();
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for file in all_files() {
        let (folder, _) = file.path.rsplit_once('/').unwrap();
        if !folder.contains("/tests/derive") {
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
        if file.text.lines().count() > FILE_LINES_MAX {
            broken.push(format!("a file has at most {FILE_LINES_MAX} lines: {}", file.path));
        }
        for (index, line) in file.text.lines().enumerate() {
            // A text that is printed as it stands is not cut.
            if line.chars().count() > COLUMNS_MAX && !line.trim_start().starts_with('"') {
                broken.push(format!("a line has at most {COLUMNS_MAX} columns: {}:{}", file.path, index + 1));
            }
        }
    }
    for (folder, count) in folders {
        if count > FOLDER_FILES_MAX {
            broken.push(format!("a folder has at most {FOLDER_FILES_MAX} files: {folder} has {count}"));
        }
    }
    refuse(broken);
}

#[test]
fn functions_stay_small() {
    let mut broken = Vec::new();
    for file in all_files() {
        // What the derive writes is one template.
        if file.path.starts_with("engine/derive/") {
            continue;
        }
        let lines: Vec<&str> = file.text.lines().collect();
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| opens_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            let length =
                lines[start..].iter().position(|line| *line == closing).map_or(0, |length| length + 1);
            if length > FUNCTION_LINES_MAX {
                broken.push(format!(
                    "a function has at most {FUNCTION_LINES_MAX} lines: {}:{} has {length}",
                    file.path,
                    start + 1
                ));
            }
        }
    }
    refuse(broken);
}

/// True for the first line of a function with a body of more than one line, as rustfmt writes it.
fn opens_function(line: &str) -> bool {
    let code = line.trim_start();
    let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "const fn ", "pub const fn "]
        .iter()
        .any(|start| code.starts_with(start));
    is_function && !code.ends_with(';') && !code.ends_with('}')
}

/// The packages that a manifest names in one of its sections.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(top().join(manifest)).unwrap();
    let after = text.split(&format!("[{section}]\n")).nth(1).unwrap_or_default();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    lines.map(|line| leading_package(line).to_owned()).filter(|name| !name.is_empty()).collect()
}

fn leading_package(line: &str) -> &str {
    let end = line.find(|character: char| !character.is_alphanumeric() && !"_-".contains(character));
    &line[..end.unwrap_or(0)]
}

#[test]
fn packages_depend_in_one_direction() {
    const ENGINE_ONLY: &[&str] = &["actix", "crossbeam-channel", "rkyv", "rocksdb", "dashmap", "hashbrown"];
    let mut broken = Vec::new();
    let mut forbid = |manifest: &str, packages: &[&str], rule: &str| {
        let named = dependencies(manifest, "dependencies");
        assert!(!named.is_empty(), "{manifest} names no dependency");
        let found = packages.iter().filter(|package| named.iter().any(|name| name == **package));
        broken.extend(found.map(|package| format!("{rule}: {manifest} names {package}")));
    };
    let above = &["headwater-connectors", "headwater-models"];
    forbid("engine/Cargo.toml", above, "the engine depends on neither connectors nor models");
    forbid("connectors/Cargo.toml", &above[1..], "connectors and models do not depend on each other");
    forbid("models/Cargo.toml", &above[..1], "connectors and models do not depend on each other");
    for manifest in ["connectors/Cargo.toml", "models/Cargo.toml"] {
        forbid(manifest, ENGINE_ONLY, "the engine is the home of this package");
    }
    refuse(broken);
}

#[test]
fn everything_outside_the_engine_uses_its_public_words() {
    const HIDDEN: &[&str] = &["__private", "batch::Heap", "RowValidator", "archived_view"];
    let mut broken = Vec::new();
    for folder in ["connectors", "models", "examples", "benches/src"] {
        for file in files(folder) {
            for (number, line) in file.code() {
                if let Some(word) = HIDDEN.iter().find(|word| line.contains(**word)) {
                    broken.push(format!("`{word}` is no public word of the engine: {}:{number}", file.path));
                }
            }
        }
    }
    refuse(broken);
}

#[test]
fn the_readers_of_this_file_see_what_they_should() {
    assert_eq!(without_comment(r#"let a = "//"; // crate::x"#), r#"let a = "//"; "#);
    assert_eq!(without_comment("/// crate::stream"), "");
    assert_eq!(top_names("batch::{A, B}, channel, time::C};"), ["batch", "channel", "time"]);
    let file = |path: &str, text: &str| File { path: format!("engine/src/{path}"), text: text.to_owned() };
    assert_eq!(named(&file("a/b.rs", "use super::super::channel::X;")), [(1, "channel".to_owned())]);
    assert_eq!(named(&file("a/mod.rs", "use super::channel::X;")), [(1, "channel".to_owned())]);
    assert_eq!(named(&file("a/b.rs", "use super::sibling::X;")), []);
    assert_eq!(named(&file("a.rs", "\ncrate::time::X; crate::batch::Y")).len(), 2);
    assert_eq!(file("a.rs", "x\n#[cfg(test)]\ny").code().len(), 1);
    assert!(opens_function("    pub(crate) fn new(") && !opens_function("fn at(&self) -> u64;"));
}
