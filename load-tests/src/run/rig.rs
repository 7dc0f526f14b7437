//! The receiver as a process of its own, and what is known of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::net::TcpSocket;

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
    /// Has a port and does not listen: whoever connects there, on any host, is refused.
    closed: TcpSocket,
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
        Ok(Self { receiver, door, own, tls: spec.tls, closed: closed(spec.listen)?, folder })
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
        let mut door = self.address(via)?;
        if let IpAddr::V4(first) = door.ip() {
            door.set_ip(Ipv4Addr::from(u32::from(first) + host).into());
        }
        let scheme = if via.is_tls() { "https" } else { "http" };
        Ok(format!("{scheme}://{door}{path}"))
    }

    /// The address of one of its doors, on its first host.
    ///
    /// # Errors
    /// When it has no such door.
    pub(super) fn address(&self, via: Via) -> Result<SocketAddr> {
        let doors = &self.receiver.doors;
        let door = match via {
            Via::Plain => Some(doors.data),
            Via::Tls => doors.tls,
            Via::TlsH2 => doors.tls_h2,
            Via::Closed => Some(SocketAddr::new(doors.data.ip(), self.closed.local_addr()?.port())),
        };
        door.context("the receiver of this scenario has no TLS: receiver: {tls: true}")
    }
}

/// Bound for all hosts, so that nobody else gets the port.
fn closed(listen: SocketAddr) -> Result<TcpSocket> {
    let (socket, any): (_, IpAddr) = match listen {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (TcpSocket::new_v6()?, Ipv6Addr::UNSPECIFIED.into()),
    };
    socket.bind(SocketAddr::new(any, 0)).context("a port that is closed")?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_closed_port_refuses_connections_on_every_host() {
        let socket = closed("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        for host in [1, 9, 100] {
            let error = TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port)).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err(), "nobody else gets it");
    }
}
