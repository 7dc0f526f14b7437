//! A reader of few events passes over segments that have none of them, and never over one that has (the skip of a topic's log).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use posthorn_domain::event::EventBuilder;
use posthorn_domain::filter::{Filter, View};
use posthorn_domain::names::TopicName;
use posthorn_domain::qos::Durability;
use posthorn_domain::record::Record;
use posthorn_storage::log::behaviour::{self, Told, settings};
use posthorn_storage::log::segments::{Config, SegmentLog};
use posthorn_storage::log::{Log as _, TopicLog, Wanted};
use serde_json::{Value, json};

const EVENTS: u64 = 400;

#[tokio::test]
async fn nothing_that_matches_is_passed_over_and_much_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, topic) = open(dir.path());
    for number in 0..EVENTS {
        topic.append(0, record(number), None, Durability::Log).await.expect("kept");
    }
    check(&*topic);
    drop((topic, log));
    // As the files say it, as it is found again without them, and when one of them is not what was written.
    for damage in [None, Some(0), Some(60)] {
        let indexes = files(dir.path(), "idx");
        assert!(indexes.len() > 20, "{}", indexes.len());
        let before = fs::read(&indexes[3]).expect("there");
        match damage {
            None => {}
            Some(0) => indexes.iter().for_each(|file| fs::remove_file(file).expect("removed")),
            Some(at) => {
                let mut bytes = before.clone();
                bytes[at] ^= 1;
                fs::write(&indexes[3], bytes).expect("written");
            }
        }
        let (_log, topic) = open(dir.path());
        check(&*topic);
        assert_eq!(fs::read(&indexes[3]).expect("there"), before, "written anew as it was");
    }
}

#[tokio::test]
async fn a_gap_is_not_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, topic) = open(dir.path());
    for number in 0..EVENTS {
        topic.append(0, record(number), None, Durability::Log).await.expect("kept");
    }
    drop((topic, log));
    let segments = files(dir.path(), "seg");
    let base = |file: &Path| file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()).expect("a base");
    // One is missing; in another a frame is damaged, and its index is gone.
    fs::remove_file(&segments[5]).expect("removed");
    let mut bytes = fs::read(&segments[8]).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segments[8], bytes).expect("written");
    fs::remove_file(segments[8].with_extension("idx")).expect("removed");
    let (_log, topic) = open(dir.path());
    let wanted = wanted(&json!({"exact": {"type": "nowhere"}}));
    assert_eq!(topic.skip(0, 0, &wanted), base(&segments[5]));
    assert_eq!(topic.skip(0, base(&segments[6]), &wanted), base(&segments[8]));
    assert_eq!(topic.skip(0, base(&segments[9]), &wanted), base(&segments[segments.len() - 1]), "the last is still written");
}

fn check(topic: &dyn TopicLog) {
    let end = topic.bounds(0).end;
    let filters = [
        json!({"exact": {"type": "rare"}}),
        json!({"exact": {"subject": "s-77"}}),
        json!({"all": [{"prefix": {"type": "ra"}}, {"exact": {"subject": "s-350"}}]}),
        json!({"any": [{"exact": {"subject": "s-3"}}, {"exact": {"subject": "s-390"}}]}),
        json!({"sql": "type = 'rare' AND subject LIKE 's-%'"}),
        json!({"cel": "event.subject == 's-200' && event.type == 'common'"}),
        json!({"exact": {"type": "nowhere"}}),
        json!({"not": {"exact": {"type": "common"}}}),
    ];
    for document in filters {
        let filter = filter(&document);
        let wanted = Wanted::of(&filter.atoms());
        let matching: Vec<u64> = (0..end).filter(|offset| filter.matches(&View::new("t", &record(*offset).event))).collect();
        for from in 0..=end {
            let to = topic.skip(0, from, &wanted);
            assert!(from <= to && to <= end.max(from), "{document}: {from} to {to}");
            assert!(!matching.iter().any(|offset| (from..to).contains(offset)), "{document}: {from} to {to} of {matching:?}");
        }
        let passed = topic.skip(0, 0, &wanted);
        assert_eq!(passed > 0, !document.to_string().contains("not\"") && matching.first() != Some(&3), "{document}: {passed}");
    }
}

fn record(number: u64) -> Record {
    let ty = if number % 150 == 149 { "rare" } else { "common" };
    let event = EventBuilder::new(&number.to_string(), "/s", ty).build().with_attr("subject", &format!("s-{number}"));
    Record { event, ..behaviour::record("", number) }
}

fn wanted(document: &Value) -> Wanted {
    Wanted::of(&filter(document).atoms())
}

fn filter(document: &Value) -> Filter {
    let mut faults = posthorn_domain::fields::Faults::default();
    Filter::parse(document, "", &mut faults).expect("a filter")
}

fn open(dir: &Path) -> (SegmentLog, Arc<dyn TopicLog>) {
    let config = Config { segment_bytes: 1500, ..Config::default() };
    let (log, _) = SegmentLog::open(dir, config, Arc::new(Told::default())).expect("opens");
    let name: TopicName = "t".parse().expect("a name");
    let topic = log.open(&name, settings(1, 1)).expect("opens");
    (log, topic)
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("t").join("0")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}
