//! Disks that fail otherwise than by being full, and what a store that refuses must leave as it was (DESIGN §7, interfaces §9).

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use posthorn_tests::process::Doors;
use posthorn_tests::{Api, Behaviour, Config, Mode, Posthorn, Receiver, Reply, binary, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::damage::{SmallDisk, letter, noise};
use crate::kit::{SOON, dead_letters, event, ids, in_force, metric, publish, read_all, stored, subscribe, topic};

/// Offsets at which the next segment cannot be made.
const BLOCKED: u64 = 64;
const VERSIONS: &str = "/v1/schemas/tight/versions";

#[tokio::test]
async fn a_log_that_cannot_be_written_takes_nothing_more_gives_what_it_has_and_a_restart_recovers() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default().set("log.segment_bytes", json!("64KiB"))).await?;
    topic(&posthorn, "broken", json!({})).await?;
    topic(&posthorn, "other", json!({})).await?;
    let paused = subscribe(&posthorn, "broken", &receiver.url("/paused"), json!({"status": "paused"})).await?;
    receiver.on("/retried", Behaviour::Status(503));
    let retry = json!({"retry": {"schedule": vec!["200ms"; 100], "jitter": 0}});
    subscribe(&posthorn, "broken", &receiver.url("/retried"), retry).await?;

    // Where the next segment's file is to be, something else is.
    let folder = posthorn.data_dir().join("log/broken/0");
    let blocks: Vec<_> = (1..BLOCKED).map(|offset| folder.join(format!("{offset:020}.seg"))).collect();
    for block in &blocks {
        fs::create_dir(block)?;
    }
    let mut kept = Vec::new();
    let refused = loop {
        let id = format!("e{}", kept.len());
        let mut event = event("broken", &id);
        event["data"]["filler"] = json!("x".repeat(10_000));
        let reply = posthorn.data().publish(&event).await?;
        if reply.status != 202 {
            break reply;
        }
        kept.push(id);
        ensure!(kept.len() < 60, "everything was taken");
    };
    ensure!(!kept.is_empty(), "nothing was taken");
    says_why(&refused)?;
    // All of the log stops: what the kernel did with earlier writes is not known.
    for (name, id) in [("other", "o1"), ("broken", "again")] {
        says_why(&posthorn.data().publish(&event(name, id)).await?)?;
    }
    let ready = posthorn.admin().get("/ready").await?;
    let file = folder.join(format!("{:020}.seg", kept.len()));
    ensure!(ready.status == 503 && ready.text().contains(&*file.to_string_lossy()), "{} {}", ready.status, ready.text());
    ensure!(ready.text().contains("restart"), "{}", ready.text());
    ensure!(posthorn.admin().get("/live").await?.status == 200, "alive");

    // What is stored is read and goes out: what waits, and what is behind.
    ensure!(ids(&read_all(&posthorn, "broken").await?) == kept, "{:?}", ids(&read_all(&posthorn, "broken").await?));
    receiver.on("/retried", Behaviour::Ok);
    receiver.wait_for_unique("/retried", kept.len() as u64, SOON).await?;
    let resumed = posthorn.control().post(&format!("/v1/subscriptions/{paused}/resume"), &json!({})).await?.expect(200)?;
    in_force(&posthorn, &resumed).await?;
    receiver.wait_for_unique("/paused", kept.len() as u64, SOON).await?;

    posthorn.kill9();
    for block in &blocks {
        fs::remove_dir(block)?;
    }
    posthorn.restart().await?;
    ensure!(ids(&read_all(&posthorn, "broken").await?) == kept, "an acknowledged event is gone, or a refused one is there");
    for name in ["broken", "other"] {
        posthorn.data().publish(&event(name, "after")).await?.expect(202)?;
    }
    kept.push("after".into());
    ensure!(ids(&read_all(&posthorn, "broken").await?) == kept);
    for path in ["/retried", "/paused"] {
        receiver.wait_for_unique(path, kept.len() as u64, SOON).await?;
    }
    let ready = posthorn.admin().get("/ready").await?;
    ensure!(ready.status == 200, "{} {}", ready.status, ready.text());
    Ok(())
}

fn says_why(refused: &Reply) -> Result<()> {
    ensure!(refused.status == 503 && refused.problem()? == "unavailable", "{} {}", refused.status, refused.text());
    ensure!(refused.headers.contains_key("retry-after"), "publishers are not told when to come back");
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_changes_of_the_configuration_and_takes_them_again() -> Result<()> {
    let disk = SmallDisk::mount(48)?;
    let folder = disk.path().join("data");
    let arguments = ["--data-dir", &folder.to_string_lossy()];
    let mut posthorn = Posthorn::start_with(Mode::Serve, Config::default(), &arguments, &[]).await?;
    posthorn.control().put("/v1/schemas/tight", &json!({"compatibility": "none"})).await?;
    disk.fill()?;
    let mut kept = Vec::new();
    let refused = loop {
        let title = noise(kept.len() as u32);
        let reply = posthorn.control().post(VERSIONS, &json!({"schema": {"title": title}})).await?;
        if reply.status != 201 {
            break reply;
        }
        kept.push(title);
        ensure!(kept.len() < 400, "a full disk took every change");
    };
    ensure!(refused.status == 503 && refused.text().contains("unavailable"), "{} {}", refused.status, refused.text());
    // As long as there is no room it stays so, and what was stored is read.
    let again = posthorn.control().post(VERSIONS, &json!({"schema": {"title": noise(400)}})).await?;
    ensure!(again.status == 503, "{} {}", again.status, again.text());
    ensure!(titles(&posthorn).await? == kept, "what was answered is read");

    disk.free()?;
    let title = noise(401);
    posthorn.control().post(VERSIONS, &json!({"schema": {"title": title}})).await?.expect(201)?;
    kept.push(title);
    ensure!(titles(&posthorn).await? == kept, "the new version is read");
    posthorn.kill9();
    posthorn.restart().await?;
    ensure!(titles(&posthorn).await? == kept, "a restart finds what was answered, and nothing of what was refused");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_could_not_be_kept_changed_or_deleted_is_what_it_was() -> Result<()> {
    let disk = SmallDisk::mount(48)?;
    let folder = disk.path().join("data");
    let folder = folder.to_string_lossy();
    let mut posthorn = Posthorn::start_with(Mode::Serve, Config::default(), &["--data-dir", &folder], &[]).await?;
    topic(&posthorn, "orders", json!({})).await?;
    let mut made = Vec::new();
    let refused = loop {
        if made.len() == 5 {
            disk.fill()?;
        }
        let name = format!("r{}", made.len());
        let reply = put(&posthorn, &name, made.len()).await?;
        if reply.status != 201 {
            break reply;
        }
        made.push(name);
        ensure!(made.len() < 200, "a full disk took every reader");
    };
    says_why(&refused)?;
    let refused = format!("/v1/readers/r{}", made.len());
    for path in [refused.clone(), format!("{refused}/events")] {
        ensure!(posthorn.data().get(&path).await?.status == 404, "{path} is there, and would be gone after a restart");
    }
    let first = posthorn.data().get("/v1/readers/r0").await?.expect(200)?;
    says_why(&put(&posthorn, "r0", 1_000).await?)?;
    says_why(&posthorn.data().delete("/v1/readers/r0").await?)?;
    ensure!(posthorn.data().get("/v1/readers/r0").await?.expect(200)? == first, "it is not what a restart would find");

    disk.free()?;
    let deleted = || async { (posthorn.data().delete("/v1/readers/r1").await.ok()?.status == 204).then_some(()) };
    eventually("there is room again", SOON, deleted).await?;
    made.remove(1);
    made.sort();
    for round in ["before", "after"] {
        let list = posthorn.data().get("/v1/readers?limit=1000").await?.expect(200)?;
        let names: Vec<_> = list["items"].as_array().context("items")?.iter().filter_map(|item| item["name"].as_str()).collect();
        ensure!(names == made && list["items"][0] == first, "{round} a restart: {names:?} instead of {made:?}");
        posthorn.kill9();
        posthorn.restart().await?;
    }
    ensure!(metric(&posthorn, "posthorn_state_unreadable_rows_total").await? == 0.0);
    Ok(())
}

#[tokio::test]
async fn while_the_state_store_is_full_deliveries_go_on_to_their_limit_and_nothing_is_lost() -> Result<()> {
    // The log has room elsewhere.
    let (disk, roomy) = (SmallDisk::mount(48)?, tempfile::tempdir()?);
    let folder = disk.path().join("data");
    fs::create_dir(&folder)?;
    std::os::unix::fs::symlink(roomy.path(), folder.join("log"))?;
    let config = Config::default().set("node.shards", json!(1)).set("delivery.max_unstored", json!(30));
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start_with(Mode::Serve, config, &["--data-dir", &folder.to_string_lossy()], &[]).await?;
    topic(&posthorn, "letters", json!({"schema_required": true, "on_refusal": "dead_letter"})).await?;
    topic(&posthorn, "failing", json!({})).await?;
    topic(&posthorn, "orders", json!({})).await?;
    subscribe(&posthorn, "orders", &receiver.url("/orders"), json!({"limits": {"in_flight": 1}})).await?;
    receiver.on("/fails", Behaviour::Status(400));
    let fails = subscribe(&posthorn, "failing", &receiver.url("/fails"), json!({"retry": {"schedule": []}})).await?;

    fill_with_letters(&posthorn, &disk).await?;
    publish(&posthorn, "failing", "f").await?;
    publish_all(&posthorn, 0..20).await?;
    receiver.wait_for_unique("/orders", 20, SOON).await?;
    publish_all(&posthorn, 20..100).await?;
    let full = || async { metric(&posthorn, "posthorn_deliveries_unstored").await.ok().filter(|unstored| *unstored >= 30.0) };
    eventually("the limit is reached", SOON, full).await?;
    let sent = receiver.tally("/orders").total;
    ensure!((20..=31).contains(&sent), "{sent} were sent beside a limit of 30");

    disk.free()?;
    receiver.wait_for_unique("/orders", 100, SOON).await?;
    dead_letters(&posthorn, &fails, 1).await?;
    ensure!(receiver.tally("/orders").total == 100 && receiver.tally("/fails").total == 1, "repeated without a crash");
    stored(&posthorn).await?;

    fill_with_letters(&posthorn, &disk).await?;
    publish_all(&posthorn, 100..120).await?;
    receiver.wait_for_unique("/orders", 120, SOON).await?;
    posthorn.kill9();
    disk.free()?;
    posthorn.restart().await?;
    publish_all(&posthorn, 120..121).await?;
    receiver.wait_for_unique("/orders", 121, SOON).await?;
    let repeated = receiver.tally("/orders").duplicate;
    ensure!((20..=30).contains(&repeated), "{repeated} were repeated");
    Ok(())
}

/// Fills the disk until the state store refuses a dead letter.
async fn fill_with_letters(posthorn: &Posthorn, disk: &SmallDisk) -> Result<()> {
    disk.fill()?;
    for number in 0..200 {
        let reply = posthorn.data().publish(&letter(number)).await?;
        if reply.status != 202 {
            return says_why(&reply);
        }
    }
    bail!("a full disk took every dead letter")
}

async fn publish_all(posthorn: &Posthorn, numbers: Range<u32>) -> Result<()> {
    for number in numbers {
        publish(posthorn, "orders", &format!("e{number}")).await?;
    }
    Ok(())
}

/// Makes or changes a reader whose filters take 100 KB.
async fn put(posthorn: &Posthorn, name: &str, seed: usize) -> Result<Reply> {
    let text = noise(u32::try_from(seed)?);
    let filters: Vec<_> = (0..25).map(|at| json!({"not": {"exact": {"subject": text[at * 4_000..(at + 1) * 4_000]}}})).collect();
    posthorn.data().put(&format!("/v1/readers/{name}"), &json!({"topic": "orders", "filters": filters})).await
}

#[tokio::test]
async fn log_lines_that_cannot_be_written_are_lost_and_nothing_else_is() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "quiet", json!({})).await?;
    subscribe(&posthorn, "quiet", &receiver.url("/ok"), json!({})).await?;
    ensure!(posthorn.terminate().await?.success());

    let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
    let mut command = Command::new(binary::posthorn()?);
    command.args(["serve", "--config"]).arg(posthorn.config_file()).env_remove("POSTHORN_BIN").env("RUST_LOG", "debug");
    let mut child = Ended(command.stdout(Stdio::piped()).stderr(full).spawn()?);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().context("its standard output")?).read_line(&mut line)?;
    let doors: Doors = serde_json::from_str(line.strip_prefix("ready ").with_context(|| format!("{line:?}"))?)?;
    let (data, control) = doors.data.zip(doors.control).context("its doors")?;
    Api::new(control).put("/v1/topics/other", &json!({})).await?.expect(201)?;
    Api::new(data).publish(&event("quiet", "e1")).await?.expect(202)?;
    receiver.wait_for_unique("/ok", 1, SOON).await?;
    kill_process(Pid::from_child(&child.0), Signal::TERM)?;
    let status = eventually("the process ends", SOON, || std::future::ready(child.0.try_wait().ok().flatten())).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Titles of all versions that the control plane has of the schema, in order.
async fn titles(posthorn: &Posthorn) -> Result<Vec<String>> {
    let listed = posthorn.control().get(&format!("{VERSIONS}?limit=1000")).await?.expect(200)?;
    let items = listed["items"].as_array().context("items")?;
    Ok(items.iter().filter_map(|version| Some(version["schema"]["title"].as_str()?.to_owned())).collect())
}
