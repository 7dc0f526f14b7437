//! What is done to the data folder while the process is away: cut, flipped, emptied, taken; and a disk that is full (interfaces §9
//! "Damage"). A failed sync cannot be had from outside; `storage/tests/log_segments.rs` has it with a disk that fails on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use posthorn_tests::{Behaviour, Config, Mode, Posthorn, Receiver, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{SOON, dead_letters, event, ids, in_force, metric, publish, read_all, subscribe, topic};

/// Bytes of a segment's head and of a frame's (format version 1).
const SEGMENT_HEAD: usize = 52;
const FRAME_HEAD: usize = 44;

#[tokio::test]
async fn a_torn_tail_is_cut_and_the_lost_offsets_are_used_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "torn", json!({})).await?;
    subscribe(&posthorn, "torn", &receiver.url("/torn"), json!({})).await?;
    publish(&posthorn, "torn", "first").await?;
    // How much of the last frame stays: none of its end, its middle, a piece of its head, nothing.
    for (round, kept) in [usize::MAX, FRAME_HEAD + 10, FRAME_HEAD - 1, 1, 0].into_iter().enumerate() {
        let (lost, new) = (format!("lost-{round}"), format!("new-{round}"));
        let offset = publish(&posthorn, "torn", &lost).await?;
        receiver.wait_for_unique("/torn", 2 + 2 * round as u64, SOON).await?;
        posthorn.terminate().await?;
        let file = segments(&posthorn, "torn").pop().context("a segment")?;
        let bytes = fs::read(&file)?;
        let (at, _) = *frames(&bytes).last().context("a frame")?;
        fs::write(&file, &bytes[..at.saturating_add(kept).min(bytes.len() - 1)])?;
        posthorn.restart().await?;
        ensure!(kept == 0 || posthorn.stderr().contains("torn tail"), "nothing said of the cut:\n{}", posthorn.stderr());
        let found = ids(&read_all(&posthorn, "torn").await?);
        ensure!(!found.contains(&lost) && found.len() == 1 + round, "kept {kept}: {found:?}");
        ensure!(publish(&posthorn, "torn", &new).await? == offset, "the lost offset is not used again");
        // The subscription had passed the lost offset; the new event must reach it all the same.
        receiver.wait_for_unique("/torn", 3 + 2 * round as u64, SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_is_a_gap_for_readers_and_a_dead_letter_for_subscribers() -> Result<()> {
    let (receiver, mut posthorn, subscription, file) = with_backlog("flipped", 6).await?;
    let mut bytes = fs::read(&file)?;
    let (at, base) = frames(&bytes)[2];
    bytes[at + FRAME_HEAD + 20] ^= 4;
    fs::write(&file, bytes)?;
    posthorn.restart().await?;

    let entries = read_all(&posthorn, "flipped").await?;
    let gap = json!({"partition": 0, "from": base, "to": base + 1, "reason": "damaged"});
    ensure!(gaps(&entries) == [gap], "{entries:?}");
    ensure!(ids(&entries) == ["e0", "e1", "e3", "e4", "e5"], "{:?}", ids(&entries));
    ensure!(metric(&posthorn, "posthorn_log_damage_total").await? >= 1.0, "no metric");
    let said = posthorn.stderr();
    ensure!(said.contains("damaged") && said.contains(&*file.to_string_lossy()), "{said}");
    let told = eventually("operators are told", SOON, || async {
        let all = read_all(&posthorn, "posthorn.operations").await.ok()?;
        all.into_iter().map(|entry| entry["event"].clone()).find(|event| event["type"] == "posthorn.log.damaged")
    });
    let told = told.await?;
    let data = &told["data"];
    ensure!(told["subject"] == "flipped" && data["from"] == base && data["file"] == file.to_string_lossy().into_owned(), "{told}");

    resume(&posthorn, &subscription).await?;
    receiver.wait_for_unique("/flipped", 5, SOON).await?;
    let letter = dead_letters(&posthorn, &subscription, 1).await?.remove(0);
    ensure!((&letter["reason"], &letter["offset"]) == (&json!("log_damaged"), &json!(base)), "{letter}");
    ensure!(letter["subscription"] == json!(subscription), "{letter}");
    // Who had received everything before loses nothing by it.
    publish(&posthorn, "flipped", "after").await?;
    receiver.wait_for_unique("/before", 7, SOON).await?;
    let all = posthorn.control().get("/v1/dead-letters").await?.expect(200)?;
    ensure!(all["items"].as_array().is_some_and(|items| items.len() == 1), "{all}");
    ensure!(receiver.tally("/before").duplicate == 0, "repeated");
    Ok(())
}

#[tokio::test]
async fn damage_above_the_checkpoint_is_one_dead_letter_a_subscription() -> Result<()> {
    let receiver = Receiver::start().await?;
    // Progress is written when resources change, and not after that: the restart reads everything again.
    let mut posthorn = Posthorn::start(Config::default().set("delivery.checkpoint_interval", json!("1h"))).await?;
    topic(&posthorn, "above", json!({})).await?;
    let mut subscriptions = Vec::new();
    for path in ["/one", "/two"] {
        subscriptions.push(subscribe(&posthorn, "above", &receiver.url(path), json!({})).await?);
    }
    for number in 0..4 {
        publish(&posthorn, "above", &format!("e{number}")).await?;
    }
    posthorn.kill9();
    let file = segments(&posthorn, "above").pop().context("a segment")?;
    let mut bytes = fs::read(&file)?;
    let (at, base) = frames(&bytes)[1];
    bytes[at + FRAME_HEAD] ^= 0x80;
    fs::write(&file, bytes)?;
    posthorn.restart_with(|config| config.set("delivery.checkpoint_interval", json!("50ms"))).await?;
    for subscription in subscriptions {
        let letter = dead_letters(&posthorn, &subscription, 1).await?.remove(0);
        ensure!((&letter["reason"], &letter["offset"]) == (&json!("log_damaged"), &json!(base)), "{letter}");
    }
    publish(&posthorn, "above", "after").await?;
    for path in ["/one", "/two"] {
        let arrived = || std::future::ready(receiver.received(path).iter().any(|got| got.header("ce-id") == "after").then_some(()));
        eventually("events behind the damage arrive", SOON, arrived).await?;
    }
    Ok(())
}

#[tokio::test]
async fn damage_stops_the_start_where_it_is_told_to() -> Result<()> {
    let (_receiver, mut posthorn, _, file) = with_backlog("stopped", 5).await?;
    let whole = fs::read(&file)?;
    let mut bytes = whole.clone();
    let (at, base) = frames(&bytes)[1];
    bytes[at + FRAME_HEAD + 5] ^= 1;
    fs::write(&file, bytes)?;
    let refused = posthorn.restart_with(|config| config.set("log.on_damage", json!("stop"))).await;
    let error = format!("{:#}", refused.err().context("it started")?);
    let (file_name, offsets) = (file.to_string_lossy().into_owned(), format!("offsets {base} to {base}"));
    ensure!(error.contains(&file_name) && error.contains(&offsets), "{error}");
    // With the file as it was, it starts.
    fs::write(&file, whole)?;
    posthorn.restart().await?;
    ensure!(gaps(&read_all(&posthorn, "stopped").await?).is_empty(), "gaps");
    Ok(())
}

#[tokio::test]
async fn files_that_are_gone_empty_or_garbage_are_gaps_and_the_rest_is_read() -> Result<()> {
    let mut posthorn = Posthorn::start(Config::default().set("log.segment_bytes", json!("64KiB"))).await?;
    topic(&posthorn, "files", json!({})).await?;
    let filler = "x".repeat(20_000);
    for number in 0..20 {
        let mut event = event("files", &format!("e{number}"));
        event["data"]["filler"] = json!(filler);
        posthorn.data().publish(&event).await?.expect(202)?;
    }
    posthorn.terminate().await?;
    let files = segments(&posthorn, "files");
    ensure!(files.len() >= 6, "{files:?}");
    let range = |number: usize| Ok::<_, anyhow::Error>((base(&files[number])?, base(&files[number + 1])?));
    let ranges = [range(1)?, range(2)?, range(3)?];
    fs::remove_file(&files[1])?;
    fs::write(&files[2], b"")?;
    fs::write(&files[3], (0..60_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect::<Vec<u8>>())?;
    // What no version ever wrote is left alone.
    let folder = files[0].parent().context("a folder")?;
    fs::write(folder.join("notes.txt"), "hello")?;
    fs::write(folder.join("garbage.seg"), "hello")?;
    posthorn.restart().await?;

    let entries = read_all(&posthorn, "files").await?;
    let lost: Vec<(u64, u64)> =
        gaps(&entries).iter().map(|gap| (gap["from"].as_u64().unwrap_or(0), gap["to"].as_u64().unwrap_or(0))).collect();
    ensure!(merged(&lost) == merged(&ranges), "{lost:?} instead of {ranges:?}");
    let kept = 20 - ranges.iter().map(|(from, to)| to - from).sum::<u64>();
    ensure!(ids(&entries).len() as u64 == kept, "{:?}", ids(&entries));
    ensure!(publish(&posthorn, "files", "next").await? == 20, "offsets go on");
    ensure!(fs::read(folder.join("garbage.seg"))? == b"hello", "a stranger's file was changed");
    Ok(())
}

#[tokio::test]
async fn an_empty_last_file_and_a_garbage_snapshot_are_recovered_from() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, "emptied", json!({})).await?;
    subscribe(&posthorn, "emptied", &receiver.url("/emptied"), json!({})).await?;
    for number in 0..3 {
        publish(&posthorn, "emptied", &format!("e{number}")).await?;
    }
    receiver.wait_for_unique("/emptied", 3, SOON).await?;
    posthorn.terminate().await?;
    fs::write(segments(&posthorn, "emptied").pop().context("a segment")?, b"")?;
    let snapshot = posthorn.data_dir().join("snapshot");
    ensure!(snapshot.exists(), "no copy of the last snapshot");
    if snapshot.is_file() {
        fs::write(&snapshot, b"no snapshot at all")?;
    }
    posthorn.restart().await?;
    ensure!(read_all(&posthorn, "emptied").await?.is_empty(), "events of an empty file");
    ensure!(publish(&posthorn, "emptied", "next").await? == 0, "it starts anew");
    receiver.wait_for_unique("/emptied", 4, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_full_disk_refuses_goes_on_delivering_and_recovers() -> Result<()> {
    let disk = SmallDisk::mount(48)?;
    let receiver = Receiver::start().await?;
    let folder = disk.path().join("data");
    let config = Config::default().set("log.segment_bytes", json!("256KiB"));
    let posthorn = Posthorn::start_with(Mode::Serve, config, &["--data-dir", &folder.to_string_lossy()], &[]).await?;
    topic(&posthorn, "full", json!({})).await?;
    receiver.on("/full", Behaviour::Status(503));
    let retry = json!({"retry": {"schedule": vec!["200ms"; 100], "jitter": 0}});
    subscribe(&posthorn, "full", &receiver.url("/full"), retry).await?;
    for number in 0..20 {
        publish(&posthorn, "full", &format!("e{number}")).await?;
    }
    topic(&posthorn, "letters", json!({"schema_required": true, "on_refusal": "dead_letter"})).await?;
    disk.fill()?;

    let mut refused = None;
    for number in 0..200 {
        let mut event = event("full", &format!("big{number}"));
        event["data"]["filler"] = json!("x".repeat(100_000));
        let reply = posthorn.data().publish(&event).await?;
        if reply.status != 202 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.context("a full disk took everything")?;
    ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{} {}", refused.status, refused.text());
    let ready = posthorn.admin().get("/ready").await?;
    ensure!(ready.status == 503 && ready.text().contains("full"), "{} {}", ready.status, ready.text());
    ensure!(posthorn.admin().get("/live").await?.status == 200, "alive");

    // What is stored goes out although nothing more comes in.
    receiver.on("/full", Behaviour::Ok);
    receiver.wait_for_unique("/full", 20, SOON).await?;
    // The state store meets the full disk too, with the first dead letter that it has no room for.
    let mut kept = 0;
    let refused = loop {
        let reply = posthorn.data().publish(&letter(kept)).await?;
        if reply.status != 202 {
            break reply;
        }
        kept += 1;
        ensure!(kept < 200, "a full disk took every dead letter");
    };
    ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{} {}", refused.status, refused.text());

    disk.free()?;
    let accepted = || async { (posthorn.data().publish(&event("full", "after")).await.ok()?.status == 202).then_some(()) };
    eventually("events are taken again", SOON, accepted).await?;
    let ready = || async { (posthorn.admin().get("/ready").await.ok()?.status == 200).then_some(()) };
    if let Err(error) = eventually("it is ready again", SOON, ready).await {
        return Err(error.context(posthorn.admin().get("/ready").await?.text()));
    }
    let arrived = || std::future::ready(receiver.received("/full").iter().any(|got| got.header("ce-id") == "after").then_some(()));
    eventually("the new event arrives", SOON, arrived).await?;
    let answer = posthorn.data().publish(&letter(kept)).await?.expect(202)?;
    ensure!(answer["status"] == "dead_lettered", "{answer}");
    let listed = posthorn.control().get("/v1/dead-letters?topic=letters&limit=1000").await?.expect(200)?;
    ensure!(
        listed["items"].as_array().is_some_and(|items| items.len() as u32 > kept),
        "{kept} dead letters were acknowledged, and one after"
    );
    let kept = ids(&read_all(&posthorn, "full").await?);
    ensure!((0..20).all(|number| kept.contains(&format!("e{number}"))) && kept.contains(&"after".to_owned()), "{kept:?}");
    Ok(())
}

/// A Posthorn that has ended, with a paused subscription that `count` events `e0`… wait for, another that got them all, and the
/// file that holds them, one a frame.
async fn with_backlog(name: &str, count: usize) -> Result<(Receiver, Posthorn, String, PathBuf)> {
    let receiver = Receiver::start().await?;
    let mut posthorn = Posthorn::start(Config::default()).await?;
    topic(&posthorn, name, json!({})).await?;
    let paused = json!({"status": "paused"});
    let subscription = subscribe(&posthorn, name, &receiver.url(&format!("/{name}")), paused).await?;
    subscribe(&posthorn, name, &receiver.url("/before"), json!({})).await?;
    for number in 0..count {
        publish(&posthorn, name, &format!("e{number}")).await?;
    }
    receiver.wait_for_unique("/before", count as u64, SOON).await?;
    posthorn.terminate().await?;
    let file = segments(&posthorn, name).pop().context("a segment")?;
    Ok((receiver, posthorn, subscription, file))
}

/// An event that its topic keeps as a dead letter, because it names no schema.
/// An event that its topic refuses, and that becomes a large dead letter.
pub(crate) fn letter(number: u32) -> Value {
    let mut event = event("letters", &format!("l{number}"));
    event["data"]["filler"] = json!(noise(number));
    event
}

/// 100,000 letters that do not compress well.
pub(crate) fn noise(seed: u32) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'A' + u8::try_from(state >> 27).unwrap_or(0))
    };
    (0..100_000).map(|_| next()).collect()
}

async fn resume(posthorn: &Posthorn, subscription: &str) -> Result<()> {
    let resumed = posthorn.control().post(&format!("/v1/subscriptions/{subscription}/resume"), &json!({})).await?.expect(200)?;
    in_force(posthorn, &resumed).await
}

/// The gap entries among what a reader got.
fn gaps(entries: &[Value]) -> Vec<Value> {
    entries.iter().filter_map(|entry| entry.get("gap").cloned()).collect()
}

/// Ranges that touch are one.
fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut().filter(|last| last.1 == *from) {
            Some(last) => last.1 = *to,
            None => merged.push((*from, *to)),
        }
    }
    merged
}

/// The segment files of a topic's first partition, in order.
fn segments(posthorn: &Posthorn, topic: &str) -> Vec<PathBuf> {
    let folder = posthorn.data_dir().join("log").join(topic).join("0");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    files.sort();
    files
}

/// The first offset of a segment, which is its name.
fn base(file: &Path) -> Result<u64> {
    file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).context("a segment's name")
}

/// Where each frame of an undamaged segment begins, and its first offset.
fn frames(bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEAD;
    while let Some(head) = bytes.get(at..at + FRAME_HEAD) {
        let body = u32::from_le_bytes(head[4..8].try_into().expect("4 bytes"));
        found.push((at, u64::from_le_bytes(head[8..16].try_into().expect("8 bytes"))));
        at += FRAME_HEAD + body as usize;
    }
    found
}

/// A file system of its own that can be filled: a tmpfs, which takes the right to mount (root has it, in the build as well).
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn mount(mib: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "posthorn-test"]).arg(folder.path()).output().context("mount")?;
        ensure!(mounted.status.success(), "a small disk cannot be mounted: {}", String::from_utf8_lossy(&mounted.stderr));
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all that is left but for 64 KiB: too little for a large event, enough for the notes that deliveries leave.
    pub(crate) fn fill(&self) -> Result<()> {
        use std::io::Write as _;
        let mut ballast = fs::File::create(self.path().join("ballast"))?;
        for size in [1 << 20, 4096] {
            let block = vec![1; size];
            while ballast.write_all(&block).is_ok() {}
        }
        let taken = ballast.metadata()?.len();
        Ok(ballast.set_len(taken - (64 << 10))?)
    }

    pub(crate) fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path().join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still uses it is about to end.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}
