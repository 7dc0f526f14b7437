//! What is for another gateway, as its users find it: the example of docs/load-tests.md, taken from there as it is, with a chain of two
//! forwarders as the gateway. No Posthorn is there.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use posthorn_load::child::Child;

use common::{OWN, Ran};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/load-tests.md");

/// The first YAML below "Another gateway".
fn example() -> Result<String> {
    let text = std::fs::read_to_string(DOCUMENT)?;
    let (_, below) = text.split_once("## Another gateway").context("the chapter")?;
    let (_, block) = below.split_once("```yaml\n").context("the example")?;
    block.split_once("```").map(|(yaml, _)| yaml.to_owned()).context("its end")
}

/// Other addresses, processes and counts; all else stays as it is written there.
fn replaced(example: &str, pairs: &[(&str, &str)]) -> Result<String> {
    pairs.iter().try_fold(example.to_owned(), |text, (from, to)| {
        ensure!(text.contains(from), "`{from}` is not in the example any more:\n{text}");
        Ok(text.replace(from, to))
    })
}

async fn forwarder(target: SocketAddr, log: &Path) -> Result<Child> {
    Child::start(Path::new(OWN), &["forwarder", "--target", &target.to_string()], log).await
}

#[tokio::test]
async fn the_example_of_the_document_measures_a_gateway_of_two_processes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let second = forwarder(receiver, &folder.path().join("second")).await?;
    let first = forwarder(second.doors.data, &folder.path().join("first")).await?;
    let text = replaced(
        &example()?,
        &[
            ("127.0.0.1:9000", &receiver.to_string()),
            ("127.0.0.1:8071", &first.doors.data.to_string()),
            ("4711, 4712", &format!("{}, {}", first.pid(), second.pid())),
            ("count: 20000", "count: 60, warm_up: 5"),
            ("for: 30s", "for: 300ms, warm_up: 5"),
            ("rounds: 3", "rounds: 1"),
        ],
    )?;
    let ran = Ran::of("mine", &text, folder, Some(Path::new("/nowhere/posthorn")))?;
    ensure!(ran.succeeded, "{}", ran.said);
    for place in ["null/ceiling", "signing/ceiling", "mine/ceiling"] {
        assert_eq!(
            (ran.figure(&format!("{place}/delivered")), ran.figure(&format!("{place}/missing"))),
            (Some(60.0), Some(0.0)),
            "{place}"
        );
    }
    assert!(ran.figure("mine/half/delivered").is_some_and(|delivered| delivered >= 1.0), "{}", ran.page);
    let parts = ["posthorn-load", "posthorn-load-2"].map(|name| ran.figure(&format!("mine/ceiling/cpu_of_{name}")));
    let (Some(one), Some(two), Some(all)) = (parts[0], parts[1], ran.figure("mine/ceiling/cpu")) else { panic!("{}", ran.page) };
    assert!(one > 0.0 && two > 0.0 && ((one + two) / all - 1.0).abs() < 0.001, "{one} + {two} = {all}");
    assert!(ran.page.contains("| by process |") && ran.page.contains(", posthorn-load-2 "), "{}", ran.page);
    for line in ["| mine/ceiling | ", "| mine/half | "] {
        assert_eq!(ran.page.matches(line).count(), 4, "cost, rate, latency and memory have {line}: {}", ran.page);
    }
    Ok(())
}

#[test]
fn a_scenario_with_posthorn_says_that_the_binary_is_missing() -> Result<()> {
    let text = "title: t\nvariants: [{name: p, steps: [{send: {count: 1}}]}]";
    let ran = Ran::of("needs", text, tempfile::tempdir()?, Some(Path::new("/nowhere/posthorn")))?;
    assert!(!ran.succeeded && ran.said.contains("/nowhere/posthorn is not there"), "{}", ran.said);
    Ok(())
}
