//! The receiver as a process of its own, and what is known of it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::child::Child;
use crate::client::Client;
use crate::receiver::tls::CA_FILE;
use crate::scenario::{ReceiverSpec, Via};

/// A running receiver.
#[derive(Debug)]
pub(super) struct Rig {
    /// The process.
    pub(super) receiver: Child,
    /// A client for its door.
    pub(super) door: Client,
    /// The program of the harness.
    pub(super) own: PathBuf,
    tls: bool,
    folder: TempDir,
}

impl Rig {
    /// Starts a receiver.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(spec: &ReceiverSpec, own: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut arguments = vec!["receiver".to_owned(), "--listen".to_owned(), spec.listen.to_string()];
        arguments.extend(["--hosts".to_owned(), spec.hosts.to_string()]);
        if spec.tls {
            arguments.extend(["--tls-folder".to_owned(), folder.path().display().to_string()]);
        }
        let receiver = Child::start(&own, &arguments, &folder.path().join("receiver")).await?;
        let door = Client::new(receiver.doors.data);
        Ok(Self { receiver, door, own, tls: spec.tls, folder })
    }

    /// The certificate authority of its TLS doors, if it has them.
    #[must_use]
    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.path().join(CA_FILE))
    }

    /// A file for the log of a process.
    #[must_use]
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URL of a path on one of its hosts (from 0) through one of its doors.
    ///
    /// # Errors
    /// When it has no such door.
    pub(super) fn url(&self, via: Via, host: u32, path: &str) -> Result<String> {
        let doors = &self.receiver.doors;
        let (scheme, door) = match via {
            Via::Plain => ("http", Some(doors.data)),
            Via::Tls => ("https", doors.tls),
            Via::TlsH2 => ("https", doors.tls_h2),
        };
        let mut door = door.context("the receiver of this scenario has no TLS: receiver: {tls: true}")?;
        if let std::net::IpAddr::V4(first) = door.ip() {
            door.set_ip(std::net::Ipv4Addr::from(u32::from(first) + host).into());
        }
        Ok(format!("{scheme}://{door}{path}"))
    }
}
