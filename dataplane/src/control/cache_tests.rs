//! The snapshot's file: what comes back of it, whole, in steps, cut off and damaged.

use std::collections::BTreeMap;

use posthorn_domain::snapshot::{Delta, Document, Nack, Resource, ResourceKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::held::Held;
use super::super::kept::Row;
use super::*;
use crate::route::Kept as _;

fn resource(revision: u64, document: &Value, secrets: &[(&str, &str)]) -> Resource {
    Resource { revision, incarnation: 3, document: Document::of(document), secrets: secrets.iter().copied().collect() }
}

fn first() -> Delta {
    let resource = resource(3, &json!({"id": "visible", "secret": null}), &[("/secret", "whsec_plain")]);
    Delta { revision: 3, changed: [(ResourceKey::from_text("subscriptions/sub_1"), resource)].into(), removed: Vec::new() }
}

/// A node with one subscription.
fn held() -> Held {
    let mut held = Held::default();
    held.commit(first(), Vec::new());
    held.commit_push("cp".into(), BTreeMap::new());
    held
}

fn change(held: &mut Held, revision: u64, changed: &[&str], removed: &[&str]) {
    let resource = resource(revision, &json!({"at": revision}), &[]);
    let changed = changed.iter().map(|key| (ResourceKey::from_text(*key), resource.clone())).collect();
    let removed = removed.iter().map(|key| ResourceKey::from_text(*key)).collect();
    held.commit(Delta { revision, changed, removed }, Vec::new());
}

/// What the file says: revision, and by key the versions and why one is bad.
type Said = (u64, BTreeMap<String, [String; 3]>);

fn said(cache: &Cache) -> Said {
    let kept = cache.load().unwrap().unwrap().kept;
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let row = |row: Row<'_>| (row.key.to_owned(), [text(row.good), text(row.bad), row.reason.unwrap_or_default().to_owned()]);
    (kept.revision, kept.rows().map(row).collect())
}

fn extent(known: Known) -> Extent {
    let Known::Extent(extent) = known else { panic!("{known:?}") };
    extent
}

#[test]
fn a_snapshot_comes_back_and_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(SealingKey::generate().unwrap());
    let cache = Cache::new(dir.path(), key);
    assert!(cache.load().unwrap().is_none());
    let written = cache.save(Known::Nothing, &held().step()).unwrap();
    let Loaded { kept, known } = cache.load().unwrap().unwrap();
    assert_eq!((kept.revision, kept.control_plane_id.as_str(), kept.delta()), (3, "cp", first()));
    assert_eq!(extent(known), written);
    let file = fs::read(dir.path().join("snapshot")).unwrap();
    for word in [&b"whsec_plain"[..], b"visible"] {
        assert!(!file.windows(word.len()).any(|window| window == word));
    }
    let other = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    assert!(matches!(other.load(), Err(CacheError::Sealing(SealingError::OtherKey { .. }))));
}

#[test]
fn steps_are_added_and_one_that_was_cut_off_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    let mut now = held();
    let written = cache.save(Known::Nothing, &now.step()).unwrap();
    change(&mut now, 4, &["topics/a", "topics/b"], &["subscriptions/sub_1"]);
    let written = cache.save(Known::Extent(written), &now.step()).unwrap();
    let path = dir.path().join("snapshot");
    let (before, length) = (said(&cache), fs::metadata(&path).unwrap().len());
    assert_eq!((before.0, before.1.keys().map(String::as_str).collect::<Vec<_>>()), (4, vec!["topics/a", "topics/b"]));
    change(&mut now, 5, &["topics/a"], &["topics/b"]);
    let written = cache.save(Known::Extent(written), &now.step()).unwrap();
    assert!(!written.is_long());
    let after = said(&cache);
    assert_eq!((after.0, after.1.len(), after.1["topics/a"][0].contains("\"at\":5")), (5, 1, true));
    assert_eq!(extent(cache.load().unwrap().unwrap().known), written);

    // Nothing new is not written.
    let file = fs::read(&path).unwrap();
    assert_eq!(cache.save(Known::Extent(written.clone()), &now.step()).unwrap(), written);
    assert_eq!(fs::read(&path).unwrap(), file);

    // Written anew out of itself, it says the same.
    let anew = cache.save(Known::Content, &now.step()).unwrap();
    assert_eq!((anew.steps, said(&cache)), (0, after));

    for end in usize::try_from(length).unwrap() + 1..file.len() {
        fs::write(&path, &file[..end]).unwrap();
        assert_eq!(said(&cache), before, "cut at {end}");
        assert!(matches!(cache.load().unwrap().unwrap().known, Known::Content), "nothing is added to it");
    }
}

#[test]
fn what_cannot_be_used_stands_beside_the_last_good_version() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    let mut now = held();
    let nack = |key: &str, reason: &str| Nack { resource: key.into(), reason: reason.into() };
    let bad = |revision, key: &str| {
        let bad = resource(revision, &json!({"bad": revision}), &[]);
        Delta { revision, changed: [(ResourceKey::from_text(key), bad)].into(), removed: Vec::new() }
    };
    let mut known = Known::Nothing;
    let mut save = |now: &mut Held| known = Known::Extent(cache.save(std::mem::take(&mut known), &now.step()).unwrap());
    save(&mut now);
    now.commit(bad(4, "subscriptions/sub_1"), vec![nack("subscriptions/sub_1", "worse")]);
    save(&mut now);
    now.commit(bad(5, "topics/a"), vec![nack("topics/a", "never good")]);
    now.commit_push("cp".into(), [(ResourceKey::from_text("topics/b"), "unreadable".to_owned())].into());
    save(&mut now);
    let rows = said(&cache).1;
    let good = serde_json::to_string(first().changed.values().next().unwrap()).unwrap();
    assert_eq!((&rows["subscriptions/sub_1"][0], rows["subscriptions/sub_1"][2].as_str()), (&good, "worse"));
    assert!(rows["subscriptions/sub_1"][1].contains("\"bad\":4") && rows["topics/a"][0].is_empty());
    assert_eq!(rows["topics/b"], ["", "", "unreadable"].map(str::to_owned));

    // A node that starts from it holds the same.
    let mut again = Held::default();
    again.restore(&cache.load().unwrap().unwrap().kept);
    assert_eq!((again.revision, &again.nacks), (5, &now.nacks));
    assert!(again.step().rows.is_empty());

    // Good again, or gone.
    change(&mut now, 6, &["subscriptions/sub_1"], &["topics/a"]);
    now.commit_push("cp".into(), BTreeMap::new());
    save(&mut now);
    let rows = said(&cache).1;
    assert_eq!((rows.len(), &rows["subscriptions/sub_1"][1..]), (1, &[String::new(), String::new()][..]));
}

#[test]
fn a_step_that_was_not_written_is_written_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    let mut now = held();
    let lost = now.step();
    change(&mut now, 4, &["topics/a"], &["subscriptions/sub_1"]);
    now.keep(lost);
    cache.save(Known::Nothing, &now.step()).unwrap();
    assert_eq!(said(&cache).1.into_keys().collect::<Vec<_>>(), ["topics/a"]);
}

#[test]
fn a_file_that_vanished_is_not_taken_for_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    let mut now = held();
    let written = cache.save(Known::Nothing, &now.step()).unwrap();
    fs::remove_file(dir.path().join("snapshot")).unwrap();
    change(&mut now, 4, &["topics/a"], &[]);
    let step = now.step();
    assert!(matches!(cache.save(Known::Extent(written), &step), Err(CacheError::Lost)));
    assert!(matches!(cache.save(Known::Content, &step), Err(CacheError::Lost)));
}

#[test]
fn a_large_snapshot_has_several_pages() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    let mut now = held();
    let large = resource(4, &json!({"text": "x".repeat(300_000)}), &[]);
    let changed: BTreeMap<_, _> = (0..20).map(|n| (ResourceKey::topic(&format!("t{n:02}")), large.clone())).collect();
    now.commit(Delta { revision: 4, changed: changed.clone(), removed: Vec::new() }, Vec::new());
    let written = cache.save(Known::Nothing, &now.step()).unwrap();
    assert!(written.frames > 3);
    let kept = cache.load().unwrap().unwrap().kept;
    assert_eq!(kept.delta().changed, changed.into_iter().chain(first().changed).collect());
}

fn old_whole() -> Value {
    let bad = json!({"revision": 4, "incarnation": 3, "document": {"bad": true}});
    json!({
        "revision": 4, "control_plane_id": "cp", "nacks": {"topics/a": "bad"},
        "resources": {"subscriptions/sub_1": first().changed.values().next().unwrap(), "topics/a": bad}, "good": {},
    })
}

#[test]
fn the_first_format_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(SealingKey::generate().unwrap());
    let header = b"PHSNAP\x01\x00";
    let sealed = key.seal(&serde_json::to_vec(&old_whole()).unwrap(), header).unwrap();
    fs::write(dir.path().join("snapshot"), [&header[..], &sealed].concat()).unwrap();
    let cache = Cache::new(dir.path(), key);
    assert_eq!(cache.load().unwrap().unwrap().kept.delta().changed, first().changed);
    let rows = said(&cache).1;
    assert_eq!((rows["topics/a"][0].as_str(), rows["topics/a"][2].as_str()), ("", "bad"));
}

#[test]
fn what_is_in_force_is_given_away_page_by_page() {
    let page = |number: u64, rows: &[Row<'_>]| {
        let mut page = Vec::new();
        let mut pages = Pages::new(false, number, "cp", |bytes: &[u8]| {
            page = bytes.to_vec();
            Ok::<(), std::convert::Infallible>(())
        });
        rows.iter().try_for_each(|row| pages.add(row)).and_then(|()| pages.end()).unwrap();
        Zeroizing::new(page)
    };
    let good = |key, version| Row { key, good: Some(version), ..Row::default() };
    let bad = |key, version, reason| Row { key, bad: version, reason: Some(reason), ..Row::default() };
    let gone = |key| Row { key, gone: true, ..Row::default() };
    let kept = Kept::of(vec![
        page(1, &[good("c", b"c1"), good("a", b"a1"), good("b", b"b1"), good("d", b"d1"), good("e", b"e1")]),
        page(2, &[good("a", b"a2"), bad("b", Some(b"b2"), "worse"), gone("d"), bad("f", None, "never read")]),
        page(3, &[bad("a", Some(b"a3"), "bad"), bad("b", None, "cannot be read"), gone("e"), good("d", b"d3")]),
        page(4, &[Row { gone: true, ..good("e", b"e4") }, good("a", b"a4")]),
    ]);
    let kept = kept.unwrap();
    assert_eq!((kept.revision, kept.control_plane_id.as_str()), (4, "cp"));
    let rows: Vec<Row<'_>> = kept.rows().collect();
    let b = Row { good: Some(b"b1"), ..bad("b", Some(b"b2"), "cannot be read") };
    assert_eq!(rows, [good("a", b"a4"), b, good("c", b"c1"), good("d", b"d3"), good("e", b"e4"), bad("f", None, "never read")]);
    let given: Vec<(String, Vec<u8>)> = kept.into_good().map(|good| (good.key().to_owned(), good.version().to_owned())).collect();
    let expected = [("a", "a4"), ("b", "b1"), ("c", "c1"), ("d", "d3"), ("e", "e4")];
    assert_eq!(given, expected.map(|(key, version)| (key.to_owned(), version.as_bytes().to_vec())));
    assert!(Kept::of(vec![Zeroizing::new(vec![3, 0])]).is_none());
}

#[test]
fn the_second_format_is_read_and_written_as_the_third() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(SealingKey::generate().unwrap());
    let header = b"PHSNAP\x02\x00";
    let frame = |content: &Value, number: u32| {
        let sealed = key.seal(&serde_json::to_vec(content).unwrap(), &place(header, number)).unwrap();
        [&u32::try_from(sealed.len()).unwrap().to_le_bytes()[..], &sealed].concat()
    };
    let step = json!({
        "revision": 5, "control_plane_id": "cp", "removed": ["topics/a"], "nacks": {}, "good": {},
        "changed": {"topics/b": {"revision": 5, "incarnation": 5, "document": {}}},
    });
    let path = dir.path().join("snapshot");
    let whole = [&header[..], &frame(&old_whole(), 0), &frame(&step, 1)].concat();
    let cache = Cache::new(dir.path(), Arc::clone(&key));
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!((said(&cache).0, said(&cache).1.len()), (4, 2));
    fs::write(&path, &whole).unwrap();
    let before = said(&cache);
    assert_eq!((before.0, before.1.keys().map(String::as_str).collect::<Vec<_>>()), (5, vec!["subscriptions/sub_1", "topics/b"]));
    let Loaded { kept, known } = cache.load().unwrap().unwrap();
    let mut now = Held::default();
    now.restore(&kept);
    cache.save(known, &now.step()).unwrap();
    assert_eq!((said(&cache), fs::read(&path).unwrap()[MAGIC]), (before, 3));
}

#[test]
fn damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
    cache.save(Known::Nothing, &held().step()).unwrap();
    let path = dir.path().join("snapshot");
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(10) {
        fs::write(&path, &whole[..at]).unwrap();
        assert!(cache.load().is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(cache.load().is_err(), "changed at {at}");
    }
    let mut newer = whole;
    newer[MAGIC] = 4;
    fs::write(&path, newer).unwrap();
    assert!(matches!(cache.load(), Err(CacheError::Version(4))));
}
