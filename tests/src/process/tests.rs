//! The harness itself, with shell scripts for a Posthorn.

use super::*;

#[tokio::test]
async fn starts_terminates_and_starts_again_on_the_same_addresses() {
    let binary = script("well.sh");
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

#[tokio::test]
async fn an_early_end_shows_status_and_stderr() {
    let error = Posthorn::start_binary(script("ill.sh"), Mode::Serve, Config::empty(), &[], &[]).await.unwrap_err().to_string();
    assert!(error.contains("64") && error.contains("no such key: bread"), "{error}");
}

/// The scripts are files of the repository: one that a test has just written cannot always be run.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/process").join(name)
}
