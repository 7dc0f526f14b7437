//! The short form of `make soak`: half a minute of faults, kills among them, at a rate that any machine can do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

#[test]
fn half_a_minute_of_faults_loses_nothing_and_grows_nothing() -> Result<()> {
    let own = Path::new(env!("CARGO_BIN_EXE_posthorn-load"));
    let posthorn = std::env::var_os("POSTHORN_BIN").map_or_else(|| own.with_file_name("posthorn"), PathBuf::from);
    ensure!(posthorn.is_file(), "{} is not there: run `cargo build -p posthorn` before this test", posthorn.display());
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("SOAK.md");
    let output = Command::new(own)
        // Posthorn reads every variable of that kind as configuration.
        .env_remove("POSTHORN_BIN")
        .args(["soak", "--minutes", "0.5", "--seed", "7", "--rate", "60", "--posthorn"])
        .arg(posthorn.canonicalize()?)
        .arg("--out")
        .arg(&file)
        .output()?;
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    ensure!(output.status.success(), "{said}");
    let page = std::fs::read_to_string(file)?;
    for wanted in ["nothing lost, nothing grew", "| kill -9 |", "| disk full |", "| batch | 1 |", "| rate-limited | 1 |", "| pulled | 1 |"]
    {
        ensure!(page.contains(wanted), "{wanted}: {page}");
    }
    Ok(())
}
