//! Checks sources and manifests against the tables. Works on text, so that it can be shown to fail.

use anyhow::Result;

use super::{CrateRule, ModuleRule};

/// A Rust file.
pub(super) struct Source {
    /// Its path from the root of the workspace.
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) fn crate_violations(rule: &CrateRule, manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Value = toml::from_str(manifest)?;
    let mut found = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for ours in table.keys().filter_map(|name| name.strip_prefix("posthorn-")) {
            let in_tests = section == "dev-dependencies" && rule.tests_may_use.contains(&ours);
            if !rule.may_use.contains(&ours) && !in_tests {
                found.push(format!("{}/Cargo.toml [{section}] names posthorn-{ours}: {}", rule.folder, rule.reason));
            }
        }
    }
    Ok(found)
}

pub(super) fn module_violations(rule: &ModuleRule, sources: &[Source]) -> Vec<String> {
    let file = format!("{}/src/{}.rs", rule.crate_folder, rule.module);
    let folder = format!("{}/src/{}/", rule.crate_folder, rule.module);
    let inside = |s: &&Source| s.name == file || s.name.starts_with(&folder);
    let mut found = Vec::new();
    for source in sources.iter().filter(inside) {
        for path in own_paths(&source.name, &source.text) {
            if rule.never_uses.contains(&path.as_str()) {
                found.push(format!("{} uses crate::{path}: {}", source.name, rule.reason));
            }
        }
    }
    found.dedup();
    found
}

pub(super) fn pure_violations(pure: &[(&str, &str)], io: &[&str], sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, reason) in pure {
        for source in sources.iter().filter(|s| s.name.contains(place) && !is_test(&s.name)) {
            let code = without_tests(&source.text);
            found.extend(io.iter().filter(|krate| mentions(&code, krate)).map(|krate| format!("{} uses {krate}: {reason}", source.name)));
        }
    }
    found
}

pub(super) fn size_violations(sources: &[Source], longest: usize, median: usize) -> Vec<String> {
    let mut lengths: Vec<usize> = sources.iter().map(|s| s.text.lines().count()).collect();
    let mut found: Vec<String> = sources
        .iter()
        .zip(&lengths)
        .filter(|(_, length)| **length > longest)
        .map(|(source, length)| format!("{} has {length} lines; {longest} is the limit: split it by idea", source.name))
        .collect();
    lengths.sort_unstable();
    let middle = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    if middle > median {
        found.push(format!("half of the files have more than {middle} lines; the median should be at most {median}"));
    }
    found
}

/// The module of the crate that every `crate::…` path starts in, `crate::{a, b::{c}}` included; also for `super::super::…`
/// paths that climb to the root. Comments do not count.
fn own_paths(name: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for rest in starts(&code, "crate::").into_iter().chain(climbs(&code, depth(name))) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(word(rest)),
        }
    }
    found
}

/// What follows each `prefix` that starts a path.
fn starts<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let within_path = |at: usize| code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    code.match_indices(prefix).filter(|(at, _)| !within_path(*at)).map(|(at, _)| &code[at + prefix.len()..]).collect()
}

/// What follows a chain of `super::` that is long enough to reach the root of the crate.
fn climbs(code: &str, depth: usize) -> Vec<&str> {
    let climb = |mut rest| {
        let mut steps = 1;
        while let Some(next) = str::strip_prefix(rest, "super::") {
            rest = next;
            steps += 1;
        }
        (steps >= depth).then_some(rest)
    };
    starts(code, "super::").into_iter().filter_map(climb).collect()
}

/// How many modules deep a file is: 1 for `crate/src/a.rs` and `crate/src/a/mod.rs`, 2 for `crate/src/a/b.rs`.
fn depth(name: &str) -> usize {
    let inside = name.split_once("/src/").map_or(name, |(_, inside)| inside);
    inside.trim_end_matches("/mod.rs").split('/').count()
}

/// The first segment of every path in `a::b, c::{d, e}}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = vec![word(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn mentions(code: &str, krate: &str) -> bool {
    !starts(code, &format!("{krate}::")).is_empty()
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Tests come last in a file.
fn without_tests(text: &str) -> String {
    let code = without_comments(text);
    code.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATE: CrateRule = CrateRule { folder: "a", may_use: &["b"], tests_may_use: &["c"], reason: "r" };
    const MODULE: ModuleRule = ModuleRule { crate_folder: "a", module: "m", never_uses: &["n"], reason: "r" };

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    #[test]
    fn a_wrong_dependency_is_found() {
        let manifest = "dependencies = {posthorn-b = 1, posthorn-c = 1}\ndev-dependencies = {posthorn-c = 1, posthorn-d = 1, tokio = 1}";
        let found = crate_violations(&CRATE, manifest).unwrap();
        assert_eq!(found, ["a/Cargo.toml [dependencies] names posthorn-c: r", "a/Cargo.toml [dev-dependencies] names posthorn-d: r"]);
    }

    #[test]
    fn a_wrong_import_is_found_however_it_is_written() {
        for wrong in ["use crate::n::X;", "use crate::{o::{p},\n    n};", "fn f() { crate::n::g() }", "use crate::n as m;"] {
            assert_eq!(module_violations(&MODULE, &[source("a/src/m/x.rs", wrong)]).len(), 1, "{wrong}");
        }
        for right in ["use crate::o::n;", "use crate::{o::{n}, p};", "// use crate::n;", "use crate::nn;", "use mycrate::n;"] {
            assert!(module_violations(&MODULE, &[source("a/src/m/x.rs", right)]).is_empty(), "{right}");
        }
        let climbing = "use super::super::n;";
        assert_eq!(module_violations(&MODULE, &[source("a/src/m/x.rs", climbing)]).len(), 1);
        assert!(module_violations(&MODULE, &[source("a/src/m/x/y.rs", climbing), source("a/src/m/x.rs", "use super::n;")]).is_empty());
        assert!(module_violations(&MODULE, &[source("a/src/mm/x.rs", "use crate::n;")]).is_empty());
        assert_eq!(module_violations(&MODULE, &[source("a/src/m.rs", "use crate::n;")]).len(), 1);
    }

    #[test]
    fn io_in_a_pure_file_is_found() {
        let pure = [("d/pure.rs", "r")];
        let check = |text| pure_violations(&pure, &["tokio"], &[source("a/src/d/pure.rs", text)]).len();
        assert_eq!(check("use tokio::net::TcpStream;"), 1);
        assert_eq!(check("use std::time;\n#[cfg(test)]\nmod tests { use tokio::test; }"), 0);
        assert_eq!(check("use my_tokio::x;"), 0);
    }

    #[test]
    fn long_files_are_found() {
        let sources = [source("long.rs", &"x\n".repeat(11)), source("b.rs", "x"), source("c.rs", "x")];
        assert_eq!(size_violations(&sources, 10, 5).len(), 1);
        assert_eq!(size_violations(&sources, 20, 0).len(), 1);
        assert!(size_violations(&sources, 20, 5).is_empty());
    }
}
