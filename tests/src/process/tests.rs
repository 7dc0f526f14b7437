//! The harness itself, with a shell script for a Posthorn.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Says `ready`, then runs until SIGTERM.
const WELL: &str = r#"#!/bin/sh
trap 'echo draining >&2; exit 0' TERM
echo "some line"
echo "$@" >&2
echo 'ready {"data":"127.0.0.1:4001","control":"127.0.0.1:4002"}'
while :; do sleep 0.01; done
"#;
const ILL: &str = "#!/bin/sh\necho 'no such key: bread' >&2\nexit 64\n";

#[tokio::test]
async fn runs_ends_and_reports() {
    // Both are written before anything is started: a file that is still open for writing in a child cannot be run.
    let folder = tempfile::tempdir().unwrap();
    let well = script(folder.path(), "well", WELL);
    let ill = script(folder.path(), "ill", ILL);
    starts_terminates_and_starts_again_on_the_same_addresses(well).await;
    an_early_end_shows_status_and_stderr(ill).await;
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn starts_terminates_and_starts_again_on_the_same_addresses(binary: PathBuf) {
    let mut posthorn = Posthorn::start_binary(binary, Mode::DataPlane, Config::default(), &["--insecure"], &[]).await.unwrap();
    assert_eq!(posthorn.data().url("/x"), "http://127.0.0.1:4001/x");
    assert!(posthorn.doors().admin.is_none());
    eventually("its arguments on stderr", EXIT_WITHIN, || std::future::ready(posthorn.stderr().contains("--insecure").then_some(())))
        .await
        .unwrap();
    assert!(posthorn.stderr().starts_with("dataplane --config "));
    assert_eq!(posthorn.terminate().await.unwrap().code(), Some(0));
    assert!(posthorn.pid().is_none() && posthorn.stderr().ends_with("draining\n"));
    posthorn.restart().await.unwrap();
    assert!(posthorn.pid().is_some());
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(posthorn.config_file()).unwrap()).unwrap();
    assert_eq!((config["http"]["listen"].as_str(), config["data_dir"].as_str()), (Some("127.0.0.1:4001"), posthorn.data_dir().to_str()));
    posthorn.kill9();
    assert!(posthorn.terminate().await.is_err());
}

async fn an_early_end_shows_status_and_stderr(binary: PathBuf) {
    let error = Posthorn::start_binary(binary, Mode::Serve, Config::empty(), &[], &[]).await.unwrap_err().to_string();
    assert!(error.contains("64") && error.contains("no such key: bread"), "{error}");
}
