//! The house's own rules: walls between crates, first lines, sizes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

const MAX_FILE_LINES: usize = 400;
const MAX_MAIN_LINES: usize = 80;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;

/// Where our crates stand.
const FOLDERS: [&str; 3] = ["shared", "services", "tests"];
/// What is made, not written.
const MADE: [&str; 4] = ["target", "node_modules", "dist", "__pycache__"];

const DOMAIN: &str = "turnpike-domain";
const WIRE: &str = "turnpike-wire";
const STORE: &str = "turnpike-store";
const BUS: &str = "turnpike-bus";
const RUNTIME: &str = "turnpike-runtime";
const CONTROL_PLANE: &str = "turnpike-control-plane";
const GATEWAY: &str = "turnpike-gateway";
const PROJECTOR: &str = "turnpike-projector";
const TURNPIKE: &str = "turnpike";
const TESTS: &str = "turnpike-tests";

/// Which crate may import which of ours: the table of `docs/architecture.md`.
const WALLS: [(&str, &[&str]); 10] = [
    (DOMAIN, &[]),
    (WIRE, &[DOMAIN]),
    (STORE, &[DOMAIN, WIRE]),
    (BUS, &[DOMAIN, WIRE]),
    (RUNTIME, &[DOMAIN]),
    (CONTROL_PLANE, &[DOMAIN, WIRE, STORE, BUS, RUNTIME]),
    (GATEWAY, &[DOMAIN, WIRE, BUS, RUNTIME]),
    (PROJECTOR, &[DOMAIN, WIRE, STORE, BUS, RUNTIME]),
    (TURNPIKE, &[DOMAIN, WIRE, STORE, BUS, RUNTIME, CONTROL_PLANE, GATEWAY, PROJECTOR]),
    (TESTS, &[DOMAIN, WIRE, STORE, BUS, RUNTIME, CONTROL_PLANE, GATEWAY, PROJECTOR, TURNPIKE]),
];

/// Arrows that came later, each with the page that gives its reason.
const DECIDED: [(&str, &str, &str); 2] = [
    (STORE, RUNTIME, "docs/decisions/store-and-bus-import-runtime.md"),
    (BUS, RUNTIME, "docs/decisions/store-and-bus-import-runtime.md"),
];

#[test]
fn the_walls_stand() {
    let files = under(&FOLDERS, "toml").unwrap().into_iter();
    let manifests: Vec<Manifest> = files
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
        .map(|(path, text)| Manifest::read(path, text).unwrap())
        .collect();
    let named = |name: &str| manifests.iter().find(|manifest| manifest.name() == name);
    let mut complaints: Vec<String> = manifests.iter().flat_map(walls).collect();
    for (name, _) in WALLS.iter().filter(|(name, _)| named(name).is_none()) {
        complaints.push(format!("tests/tidy.rs:1: no crate is called {name}: take it out"));
    }
    for (from, to, page) in DECIDED {
        if !named(from).is_some_and(|manifest| manifest.imports().contains_key(to)) {
            complaints.push(format!("tests/tidy.rs:1: {from} imports {to} no more: take it out"));
        }
        if !root().join(page).is_file() {
            complaints.push(format!("{page}:1: write why {from} imports {to}"));
        }
    }
    report(&complaints);
}

#[test]
fn files_say_what_they_are_for_and_are_small() {
    let files = under(&FOLDERS, "rs").unwrap();
    assert!(files.len() > 20, "only {} files were found: the search is broken", files.len());
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| [opening(path, text), size(path, text)])
        .flatten()
        .chain(files.iter().flat_map(|(path, text)| functions(path, text)))
        .chain(files.iter().flat_map(|(path, text)| columns(path, text)))
        .collect();
    report(&complaints);
}

#[test]
fn scripts_say_what_they_are_for() {
    let folders = ["scripts", "tests"];
    let scripts = ["py", "sh"].iter().flat_map(|kind| under(&folders, kind).unwrap());
    report(&scripts.filter_map(|(path, text)| script_opening(&path, &text)).collect::<Vec<_>>());
}

fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of a kind with its path from the root and its text.
fn under(folders: &[&str], kind: &str) -> io::Result<Vec<(String, String)>> {
    let root = root();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = BTreeMap::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && !MADE.contains(&&*name) {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == kind) {
                let short = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                found.insert(short, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// What cargo is told about one crate.
struct Manifest {
    path: String,
    text: String,
    table: Table,
}

impl Manifest {
    fn read(path: String, text: String) -> Result<Self, toml::de::Error> {
        Ok(Self { path, table: toml::from_str(&text)?, text })
    }

    fn name(&self) -> &str {
        let name = self.table.get("package").and_then(|package| package.get("name")?.as_str());
        name.unwrap_or("nameless")
    }

    /// All that is imported, of ours and of others, by its real name, and the line that says so.
    fn imports(&self) -> BTreeMap<&str, usize> {
        let targets = self.table.get("target").and_then(Value::as_table).into_iter();
        let sections = targets
            .flat_map(|targets| targets.values().filter_map(Value::as_table))
            .chain([&self.table])
            .flat_map(|part| [part.get("dependencies"), part.get("build-dependencies")]);
        let entries = sections.flatten().filter_map(Value::as_table).flatten();
        entries
            .map(|(key, value)| {
                let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
                let line = self.text.lines().position(|line| line.starts_with(key.as_str()));
                (name, line.unwrap_or(0) + 1)
            })
            .collect()
    }
}

fn walls(manifest: &Manifest) -> Vec<String> {
    let (path, name) = (&manifest.path, manifest.name());
    let Some((_, may)) = WALLS.iter().find(|(of, _)| *of == name) else {
        let what = format!("{name} is not in WALLS of tests/tidy.rs: decide its walls");
        return vec![format!("{path}:1: {what}")];
    };
    let decided = |to: &str| DECIDED.iter().any(|(from, found, _)| *from == name && *found == to);
    let wrong = |to: &str| {
        if name == DOMAIN {
            return Some("keep the rules without dependencies");
        }
        let ours = WALLS.iter().any(|(of, _)| *of == to);
        let denied = ours && !may.contains(&to) && !decided(to);
        denied.then_some("move what is needed, or decide it in docs/decisions and in DECIDED")
    };
    let tell =
        |(to, line)| Some(format!("{path}:{line}: {name} may not import {to}: {}", wrong(to)?));
    manifest.imports().into_iter().filter_map(tell).collect()
}

fn opening(path: &str, text: &str) -> Option<String> {
    let first = text.lines().next().unwrap_or("");
    let says = first.strip_prefix("//! ").is_some_and(|says| says.len() > 1);
    (!says).then(|| format!("{path}:1: begin with `//!` and one sentence: what it is for"))
}

fn script_opening(path: &str, text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or("");
    let says = first.starts_with("# ") || first.starts_with("\"\"\"");
    (!says).then(|| format!("{path}:2: begin with a comment of one sentence: what it is for"))
}

fn size(path: &str, text: &str) -> Option<String> {
    let lines = code_lines(text);
    let test = format!("/{path}").contains("/tests/") || path.ends_with("tests.rs");
    let main = path.ends_with("/main.rs");
    let most = if main { MAX_MAIN_LINES } else { MAX_FILE_LINES };
    (!test && lines > most)
        .then(|| format!("{path}:{most}: {lines} lines before the tests: split it by meaning"))
}

/// Lines before the trailing `#[cfg(test)] mod tests`.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = |at: &usize| {
        let rest = &lines[at + 1..];
        lines[*at] == "#[cfg(test)]"
            && rest.iter().find(|line| !line.starts_with(['#', ' ', ')'])).is_some_and(|line| {
                line.starts_with("mod tests") || line.starts_with("pub(crate) mod tests")
            })
    };
    (0..lines.len()).rev().find(tests).unwrap_or(lines.len())
}

/// Relies on rustfmt: a function ends at the first `}` that stands below its `fn`.
fn functions(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let closing = |line: &&str| {
            line.strip_prefix(indent).is_some_and(|rest| {
                rest.starts_with('}') || (rest.starts_with(')') && rest.ends_with(';'))
            })
        };
        let one_line = line.ends_with('}') || line.ends_with(';');
        let after = lines[at + 1..].iter().position(closing).filter(|_| !one_line);
        let length = after.map_or(1, |after| after + 2);
        if length > MAX_FUNCTION_LINES {
            let what = format!("{name} has {length} lines of {MAX_FUNCTION_LINES}");
            complaints.push(format!("{path}:{}: {what}: give its parts names", at + 1));
        }
    }
    complaints
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let word = words.find(|word| {
        !(matches!(*word, "const" | "async" | "unsafe" | "extern") || word.starts_with("pub"))
    })?;
    let name = words.next().filter(|_| word == "fn")?;
    name.split(['(', '<']).next()
}

fn columns(path: &str, text: &str) -> Vec<String> {
    let wide = |line: &str| line.chars().count() > MAX_COLUMNS;
    let found = text.lines().enumerate().filter(|(_, line)| wide(line));
    let tell = |at| format!("{path}:{}: over {MAX_COLUMNS} columns: break the line", at + 1);
    found.map(|(at, _)| tell(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, sections: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{name}\"\n{sections}");
        walls(&Manifest::read("x/Cargo.toml".into(), text).unwrap())
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_named_with_its_line() {
        let arrow = "[dependencies]\nserde.workspace = true\nturnpike-store.workspace = true\n";
        let complaints = told(GATEWAY, arrow);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("x/Cargo.toml:5: turnpike-gateway may not import"));
        assert!(told(PROJECTOR, arrow).is_empty());
        assert_eq!(told(PROJECTOR, "[build-dependencies]\nturnpike-gateway.path = \"\"").len(), 1);
        let linux = "[target.'cfg(unix)'.dependencies]\nturnpike-control-plane = \"1\"";
        assert_eq!(told(GATEWAY, linux).len(), 1);
        let renamed = "[dependencies]\nbytes_below = { package = \"turnpike-store\" }";
        assert_eq!(told(GATEWAY, renamed).len(), 1);
        assert!(told(STORE, "[dependencies]\nturnpike-runtime = \"1\"").is_empty(), "decided");
        assert!(told("turnpike-more", "")[0].contains("is not in WALLS"));
    }

    #[test]
    fn the_domain_imports_nothing_but_for_its_tests() {
        assert_eq!(told(DOMAIN, "[dependencies]\nserde = \"1\"").len(), 1);
        assert!(told(DOMAIN, "[dev-dependencies]\nproptest = \"1\"").is_empty());
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        assert_eq!(opening("a.rs", "//! What it is for.\n"), None);
        assert!(opening("a.rs", "use std::fmt;\n").is_some());
        assert!(opening("a.rs", "//!\n").is_some());
        assert!(opening("a.rs", "").is_some());
        assert_eq!(script_opening("a.py", "#!/usr/bin/env python3\n\"\"\"Adds.\"\"\"\n"), None);
        assert_eq!(script_opening("a.sh", "#!/bin/sh\n# Adds.\n"), None);
        assert!(script_opening("a.sh", "#!/bin/sh\nset -eu\n").is_some());
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        let code = "x\n".repeat(MAX_FILE_LINES);
        let tests = format!("#[cfg(test)]\n#[expect(\n    a\n)]\nmod tests {{\n{code}}}\n");
        assert_eq!(size("shared/a.rs", &format!("{code}{tests}")), None);
        let told = size("shared/a.rs", &format!("{code}x\n{tests}")).unwrap();
        assert!(told.starts_with("shared/a.rs:400: 401 lines"), "{told}");
        assert!(size("shared/a.rs", &format!("x\n#[cfg(test)]\nuse a;\n{code}")).is_some());
        assert_eq!(size("shared/a/tests.rs", &format!("{code}{code}")), None);
        assert_eq!(size("tests/sim/a.rs", &format!("{code}{code}")), None);
        assert_eq!(size("shared/a/tests/b.rs", &format!("{code}{code}")), None);
        assert!(size("services/a/src/main.rs", &"x\n".repeat(81)).is_some());
        assert_eq!(size("services/a/src/main.rs", &"x\n".repeat(80)), None);
    }

    #[test]
    fn a_long_function_is_told_and_its_short_neighbours_are_not() {
        let body = |lines| "        x();\n".repeat(lines);
        let long = "    pub(crate) async fn long<T>(\n        a: T,\n    ) {\n";
        let fits = "    fn fits() {\n";
        let (long_body, fitting_body) = (body(67), body(68));
        let text =
            format!("    fn a() {{}}\n\n{long}{long_body}    }}\n\n{fits}{fitting_body}    }}\n");
        let complaints = functions("a.rs", &text);
        assert_eq!(complaints, ["a.rs:3: long has 71 lines of 70: give its parts names"]);
        let declared = format!("    fn a(\n        &self,\n    ) -> u8;\n{}    }}\n", body(80));
        assert!(functions("a.rs", &declared).is_empty());
    }

    #[test]
    fn columns_are_characters() {
        assert!(columns("a.rs", &"ä".repeat(100)).is_empty());
        assert_eq!(columns("a.rs", &format!("\n{}", "a".repeat(101))).len(), 1);
    }
}
