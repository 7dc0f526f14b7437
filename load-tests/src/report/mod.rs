//! The page of results: the aims, then each scenario with its tables and drawings.

mod aims;
mod grid;
mod machine;
mod plots;
mod stats;
mod store;
mod svg;
mod tables;
mod yardsticks;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use machine::Machine;
pub use stats::Spread;
pub use store::{Kept, Results};

use crate::scenario::Scenario;

/// Where the page, its data and its drawings are.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// The folder `load-tests` of a tree, or another.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The data behind the page.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("results.json")
    }

    /// What people found out about aims that are missed: where the time goes, and what was tried.
    fn notes(&self) -> Result<String> {
        let file = self.folder.join("NOTES.md");
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(format!("\n{}\n", text.trim())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// Writes the page and the drawings of all scenarios that have results.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, scenarios: &[Scenario], results: &Results) -> Result<()> {
        let mut page = String::from(INTRODUCTION);
        page.push_str(&aims::table(scenarios, results));
        page.push_str(&self.notes()?);
        for scenario in scenarios {
            let Some(kept) = results.scenarios.get(&scenario.name) else { continue };
            page.push_str(&section(scenario, kept));
            for (name, drawing) in plots::draw(scenario, kept) {
                let folder = self.folder.join("plots");
                std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
                std::fs::write(folder.join(&name), drawing).with_context(|| name.clone())?;
                page.push_str(&format!("\n![{name}](plots/{name})\n"));
            }
        }
        let file = self.folder.join("RESULTS.md");
        std::fs::write(&file, page).with_context(|| file.display().to_string())
    }
}

const INTRODUCTION: &str = "# Results\n\n\
    `make load` and `make load-full` write this page; [docs/load-tests.md](../docs/load-tests.md) says how it is measured. Generator, receiver and what is\n\
    measured share two cores, over loopback: read the ratios, they are taken within a round, and rounds are interleaved. Where several\n\
    rounds were run, the median stands first and the lowest and highest in brackets. CPU is of the gateway alone. × null and × signing\n\
    are ratios to the bare and to the signing forwarder. `lost` counts deliveries that were due and did not arrive: a scenario that lost any has\n\
    failed. `late` counts events that left 100 ms or more after they were due, because every connection was busy; `not sent` those for which\n\
    there was no time.\n";

fn section(scenario: &Scenario, kept: &Kept) -> String {
    let mut text = format!("\n## {}\n\n", scenario.title);
    if !scenario.about.is_empty() {
        text.push_str(&format!("{}\n\n", scenario.about.trim()));
    }
    text.push_str(&format!(
        "`{}`: {} {} ({}), commit {}, {}, in {:.0} s. {}.\n\n",
        scenario.name,
        kept.rounds,
        if kept.rounds == 1 { "round" } else { "rounds" },
        kept.depth,
        kept.commit,
        kept.when,
        kept.seconds,
        kept.machine
    ));
    for fault in &kept.faults {
        text.push_str(&format!("**FAILED**: {fault}\n\n"));
    }
    let tables = [tables::variants(scenario, kept), tables::rows(scenario, kept)];
    text.push_str(&tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Depth};

    #[test]
    fn the_results_of_this_tree_make_a_page_whatever_their_age() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        let results = Results::load(&Place::new(tree).data()).unwrap();
        let scenarios = scenario::load_all(&tree.join("scenarios"), Depth::Full).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Place::new(folder.path()).write(&scenarios, &results).unwrap();
        let page = std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap();
        let kept: Vec<&str> = scenarios.iter().map(|s| &*s.name).filter(|name| results.scenarios.contains_key(*name)).collect();
        assert!(!kept.is_empty());
        for name in kept {
            assert!(page.contains(&format!("\n`{name}`: ")), "{name} is not in\n{page}");
        }
        assert_eq!(page.matches("\n| 13 | ").count(), 1, "{page}");
    }
}
