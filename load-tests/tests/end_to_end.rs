//! The harness as its users run it: one small scenario over the yardsticks, the real Posthorn, and a gateway that is somebody
//! else's (a forwarder that the test started), to a page of results.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use posthorn_load::child::Child;
use posthorn_load::report::Results;

const SCENARIO: &str = r#"
title: Small
rounds: 1
receiver: {listen: "127.0.0.1:PORT", hosts: 2, tls: true}
setup: [{mark: empty}, {subscribe: {count: 2, hosts: 2, with: {retry: {schedule: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}}}}, {subscribe: {group: vain, matches: false, count: 5}}, {subscribe: {group: nobody, via: closed, count: 2, hosts: 2}}]
steps: [{send: {count: 60, connections: 4, warm_up: 5}}]
variants:
  - {name: raw, system: raw}
  - {name: "null", system: "null"}
  - {name: signing, system: signing, fan_out: 2}
  - name: other
    system: external
    gateway: {url: "http://GATEWAY/hook", headers: {x-key: secret}, pids: [PID]}
    steps: [{send: {count: 60, mode: plain, template: '{"mark":"{id}","pad":"{pad}"}', size: 300, warm_up: 0}}]
  - name: posthorn
    topics: 2
    steps:
      - send: {count: 60, connections: 4, warm_up: 5}
      - send: {name: open, rate: 200, for: 300ms, mode: structured, warm_up: 0, keys: 5, zipf: 1.2}
      - behave: {group: ok, status: 503}
      - send: {name: outage, count: 40, batch: 20, warm_up: 0, wait: false}
      - behave: {group: ok}
      - await: {name: back, of: outage, within: 60s}
      - restart: restarted
  - {name: tls, setup: [{subscribe: {via: tls_h2, secret: ed25519}}], steps: [{send: {count: 30, protocol: h2, connections: 1, warm_up: 0}}]}
rows:
  - {label: against, of: posthorn/load/cpu, against: signing/load/cpu, unit: µs, aim: {number: 1, at_most: 100000}}
  - {label: memory, of: posthorn/restarted/memory, minus: posthorn/empty/memory, unit: MiB}
plots: [{kind: latency, title: Latency, of: [raw/load, posthorn/open]}, {kind: arrivals, title: Back, of: [posthorn/back]}]
"#;

#[tokio::test]
async fn a_small_scenario_runs_from_file_to_page() -> Result<()> {
    let own = Path::new(env!("CARGO_BIN_EXE_posthorn-load"));
    let folder = tempfile::tempdir()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let target = format!("127.0.0.1:{port}");
    let gateway = Child::start(own, &["forwarder", "--target", &target], &folder.path().join("gateway")).await?;
    let text = SCENARIO
        .replace("PORT", &port.to_string())
        .replace("GATEWAY", &gateway.doors.data.to_string())
        .replace("PID", &gateway.pid().to_string());
    let file = folder.path().join("small.yaml");
    std::fs::write(&file, text)?;
    std::fs::create_dir(folder.path().join("none"))?;
    run(own, &file, folder.path())?;
    let results = Results::load(&folder.path().join("results.json"))?;
    let kept = &results.scenarios["small"];
    assert_eq!(kept.faults, Vec::<String>::new());
    let figure = |name: &str| kept.figure(name).first().copied().flatten();
    for (place, deliveries) in
        [("raw/load", 60.0), ("null/load", 60.0), ("signing/load", 120.0), ("other/load", 60.0), ("posthorn/load", 120.0)]
    {
        assert_eq!(figure(&format!("{place}/delivered")), Some(deliveries), "{place}");
        assert_eq!(figure(&format!("{place}/missing")), Some(0.0), "{place}");
    }
    assert_eq!((figure("posthorn/back/delivered"), figure("tls/load/delivered")), (Some(80.0), Some(30.0)));
    assert!(figure("posthorn/back/turned_away").is_some_and(|n| n >= 1.0), "the outage was met");
    assert!(figure("posthorn/restarted/ready").is_some_and(|millis| millis > 0.0));
    assert!(figure("posthorn/load/written").is_some_and(|bytes| bytes > 500.0), "an event is at least kept");
    assert!(figure("posthorn/load/memory_peak") >= figure("posthorn/load/memory"), "the peak is no less than the steady value");
    page(folder.path())
}

fn run(own: &Path, scenario: &Path, folder: &Path) -> Result<()> {
    let output = Command::new(own)
        // Posthorn reads every variable of that kind as configuration.
        .env_remove("POSTHORN_BIN")
        .args([
            "run".as_ref(),
            scenario.as_os_str(),
            "--out".as_ref(),
            folder.as_os_str(),
            "--posthorn".as_ref(),
            posthorn(own)?.as_os_str(),
        ])
        .args(["--scenarios".as_ref(), folder.join("none").as_os_str()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn page(folder: &Path) -> Result<()> {
    let page = std::fs::read_to_string(folder.join("RESULTS.md"))?;
    assert!(page.contains("| 1 | against | ≤ 100,000 |") && page.contains("| met | small, 1 × quick"), "{page}");
    assert!(page.contains("| posthorn/load |") && !page.contains("FAILED"), "{page}");
    for name in ["small-1-latency.svg", "small-2-arrivals.svg"] {
        assert!(page.contains(name), "{page}");
        assert!(std::fs::read_to_string(folder.join("plots").join(name))?.contains("<polyline"));
    }
    Ok(())
}

/// `POSTHORN_BIN`, else the binary that `cargo build -p posthorn` left beside ours.
fn posthorn(own: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("POSTHORN_BIN").map_or_else(|| own.with_file_name("posthorn"), PathBuf::from);
    ensure!(path.is_file(), "{} is not there: run `cargo build -p posthorn` before this test", path.display());
    path.canonicalize().context("the binary")
}
