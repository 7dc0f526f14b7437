//! What a process makes at its first start and keeps: the node's id and the key that seals secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use posthorn_domain::sealing::SealingKey;
use zeroize::Zeroizing;

use super::Config;

impl Config {
    /// `node.id`, else what `{data_dir}/node.id` holds, else a new one that is kept there.
    ///
    /// # Errors
    ///
    /// When the file can neither be read nor written.
    pub fn node_id(&self) -> anyhow::Result<String> {
        if let Some(id) = &self.node.id {
            return Ok(id.clone());
        }
        let path = self.data_dir.join("node.id");
        let kept = kept(&path, || Ok(Zeroizing::new(format!("node-{}", uuid::Uuid::now_v7().simple()))))?;
        Ok(kept.trim().to_owned())
    }

    /// The key of `POSTHORN_SECRETS__KEY`, else of the key file, which is made (0600) when it is not there.
    ///
    /// # Errors
    ///
    /// When the file can neither be read nor written, or holds no key.
    pub fn sealing_key(&self) -> anyhow::Result<SealingKey> {
        if let Some(key) = &self.secrets.key {
            return SealingKey::from_text(key.expose()).context("POSTHORN_SECRETS__KEY");
        }
        let path = self.key_file();
        let text = kept(&path, || Ok(SealingKey::generate().map_err(io::Error::other)?.to_text()))?;
        SealingKey::from_text(&text).with_context(|| path.display().to_string())
    }
}

/// The file's text; when there is no file, what `make` gives, after it has reached the disk.
fn kept(path: &Path, make: impl FnOnce() -> io::Result<Zeroizing<String>>) -> anyhow::Result<Zeroizing<String>> {
    let read = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => make().and_then(|text| keep(path, text)),
        other => other.map(Zeroizing::new),
    };
    read.with_context(|| path.display().to_string())
}

/// Written beside and renamed, so that a crash leaves no half of it.
fn keep(path: &Path, text: Zeroizing<String>) -> io::Result<Zeroizing<String>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(parent)?.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::{Given, load};

    #[test]
    fn what_was_made_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let given = Given { data_dir: Some(dir.path().join("deep")), ..Given::default() };
        let config = load(&given, []).unwrap();
        assert_eq!(config.node_id().unwrap(), config.node_id().unwrap());
        assert_eq!(config.sealing_key().unwrap().id(), config.sealing_key().unwrap().id());
        let mode = std::fs::metadata(config.key_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(config.key_file(), "no key").unwrap();
        assert!(config.sealing_key().is_err());
    }
}
