//! What comes again, life by life of the process, against what the process says of it.
//!
//! `posthorn_redelivered_total` counts, from the start of a process that follows a crash, deliveries that may have gone out before, each
//! before its request is sent. So what has come again since the start is never more than it says afterwards, and after a start that
//! follows an end in good order both are 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::RUN;
use super::gauges::metric;
use super::node::GROUPS;
use crate::client::Client;
use crate::receiver::control;

const REDELIVERED: &str = "posthorn_redelivered_total{cause=\"restart\"}";
/// One that is kept, and one for the question.
const OWN_CONNECTIONS: u64 = 2;
const GONE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The account so far.
#[derive(Debug)]
pub(super) struct Lives {
    receiver: Arc<Client>,
    /// What had come again before this life.
    before: u64,
    after_kill: bool,
    pub(super) sums: Sums,
}

/// Over all lives.
#[derive(Debug, Default, Clone)]
pub(super) struct Sums {
    /// Lives that began after a kill.
    pub(super) after_kill: u64,
    /// And after an end in good order.
    pub(super) after_end: u64,
    /// Deliveries that came again, as the receiver saw.
    pub(super) repeated: u64,
    /// And as the process said that they may.
    pub(super) counted: u64,
    /// Where the first were more than the second.
    pub(super) wrong: Vec<String>,
}

impl Lives {
    /// The first begins.
    pub(super) fn new(receiver: Arc<Client>) -> Self {
        Self { receiver, before: 0, after_kill: false, sums: Sums::default() }
    }

    /// Holds the one against the other, right before the life ends.
    pub(super) async fn look(&mut self, admin: SocketAddr) -> Result<()> {
        let again = self.again().await? - self.before;
        let counted = metric(&Client::new(admin), REDELIVERED).await? as u64;
        if again > counted {
            let began = if self.after_kill { "kill" } else { "end in good order" };
            self.sums.wrong.push(format!("in a life after a {began} {again} came again, and {counted} were counted"));
        }
        self.sums.repeated += again;
        self.sums.counted += counted;
        Ok(())
    }

    /// The process is gone, and another begins once all is taken that it had sent.
    pub(super) async fn next(&mut self, after_kill: bool) -> Result<()> {
        let began = Instant::now();
        // Connections are taken in turn: when that of the question is, none of the dead process is left outside.
        while control::status(&Client::new(self.receiver_address()?)).await?.open > OWN_CONNECTIONS {
            ensure!(began.elapsed() < GONE_WITHIN, "connections of a dead process stay open");
            sleep(LOOK_AGAIN).await;
        }
        self.before = self.again().await?;
        self.after_kill = after_kill;
        *(if after_kill { &mut self.sums.after_kill } else { &mut self.sums.after_end }) += 1;
        Ok(())
    }

    async fn again(&self) -> Result<u64> {
        let report = control::report(&self.receiver, RUN).await?;
        let explained = GROUPS.iter().filter(|group| group.has_time());
        Ok(explained.filter_map(|group| report.groups.get(group.name)).map(|group| group.repeated).sum())
    }

    fn receiver_address(&self) -> Result<SocketAddr> {
        Ok(self.receiver.host().parse()?)
    }
}
