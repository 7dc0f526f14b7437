use super::*;
use crate::state::behaviour;

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder).unwrap()
}

#[test]
fn it_behaves() {
    behaviour::all(|| {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        (store, dir)
    });
}

#[test]
fn unsynced_commits_survive_a_copy_of_the_open_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    for offset in 0..100 {
        let mut batch = Batch::new();
        batch.put_base(behaviour::base("orders", offset)).put_retry(behaviour::retry(behaviour::subscription(1), offset));
        store.commit(batch, false).unwrap();
    }
    copy(&dir.path().join("a"), &dir.path().join("b"));
    let copied = open(&dir.path().join("b"));
    assert_eq!(copied.load().unwrap().bases, [behaviour::base("orders", 99)]);
    assert_eq!(copied.retries(behaviour::subscription(1), None, 1000).unwrap().len(), 100);
}

#[test]
fn a_second_opener_and_a_newer_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(Embedded::open(dir.path()), Err(StateError::Locked(_))));
    let newer = Some((FORMAT + 1).to_be_bytes().to_vec());
    store.write(BTreeMap::from([((Table::Positions, keys::FORMAT.to_vec()), newer)]), true).unwrap();
    drop(store);
    assert!(matches!(Embedded::open(dir.path()), Err(StateError::NewerFormat { found: 2, known: 1 })));
}

#[test]
fn unreadable_rows_are_counted_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (base, retry) = (behaviour::base("orders", 1), behaviour::retry(behaviour::subscription(1), 5));
    let spoilt = Some(vec![9, 9]);
    let rows = [
        ((Table::Positions, keys::base(&base)), spoilt.clone()),
        ((Table::Positions, b"lshort".to_vec()), spoilt.clone()),
        ((Table::Retries, keys::retry(&retry.id())), spoilt.clone()),
        ((Table::Retries, b"x".to_vec()), spoilt),
    ];
    store.write(BTreeMap::from(rows), false).unwrap();
    assert_eq!(store.load().unwrap(), Loaded::default());
    assert_eq!(store.retries(retry.subscription, None, 10).unwrap(), []);
    assert_eq!(store.first_due_per_subscription().unwrap().len(), 1);
    assert_eq!(store.unreadable(), 4);
}

#[test]
fn a_stopped_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    *store.stopped.lock() = Some(Stop::after(&fjall::Error::Poisoned, dir.path()));
    assert!(matches!(store.health(), Err(StateError::Stopped(_))));
    let mut batch = Batch::new();
    batch.put_base(behaviour::base("orders", 1));
    assert!(matches!(store.commit(batch, true), Err(StateError::Stopped(_))));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_closed_store_is_opened_with_nothing_to_read_again_and_has_all_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let rows = 4_000;
    for due in 0..rows {
        let mut batch = Batch::new();
        batch.put_retry(behaviour::retry(behaviour::subscription(1), due)).put_base(behaviour::base("orders", due));
        store.commit(batch, false).unwrap();
    }
    let gathered = |store: &Embedded| store.slot.get().unwrap().db.write_buffer_size();
    assert!(gathered(&store) > 256 << 10, "too little to be worth a file: {}", gathered(&store));
    store.close();
    drop(store);
    let journals = || {
        std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap).filter(|entry| entry.path().extension().is_some_and(|it| it == "jnl"))
    };
    assert_eq!(journals().map(|journal| journal.metadata().unwrap().len()).collect::<Vec<_>>(), [0]);
    // What comes after stands behind what was there.
    let store = open(dir.path());
    assert_eq!(gathered(&store), 0);
    let mut batch = Batch::new();
    batch.put_base(behaviour::base("orders", rows));
    store.commit(batch, true).unwrap();
    drop(store);
    let store = open(dir.path());
    assert!(gathered(&store) > 0, "it was in the journal");
    assert_eq!(store.load().unwrap().bases, [behaviour::base("orders", rows)]);
    assert_eq!(store.retries(behaviour::subscription(1), None, 10_000).unwrap().len(), 4_000);
}
