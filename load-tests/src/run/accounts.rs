//! What a measurement cost: CPU split by process, bytes, context switches, connections, and whether signatures were right.

use anyhow::Result;

use super::figures::Figures;
use super::rig::Rig;
use super::running::{Kind, Running};
use crate::receiver::control;
use crate::receiver::verify::Signatures;
use crate::usage::{self, Usage};

/// Readings before a measurement.
pub(super) struct Before {
    /// Of each of its processes.
    gateway: Vec<Usage>,
    generator: Usage,
    receiver: Usage,
    received: control::Status,
}

impl Before {
    pub(super) async fn read(running: &Running, rig: &Rig) -> Result<Self> {
        Ok(Self {
            gateway: Usage::each(&running.pids())?,
            generator: Usage::of(&[std::process::id()])?,
            receiver: Usage::of(&[rig.receiver.pid()])?,
            received: control::status(&rig.door).await?,
        })
    }

    /// Notes what was used since, for each delivery and each event.
    pub(super) async fn note(
        &self,
        name: &str,
        delivered: Option<u64>,
        events: u64,
        running: &Running,
        rig: &Rig,
        figures: &mut Figures,
    ) -> Result<()> {
        let now = Self::read(running, rig).await?;
        let deliveries = delivered.map(|delivered| delivered.max(1) as f64);
        if let Some(deliveries) = deliveries {
            figures.note(name, "generator_cpu", micros(now.generator.since(self.generator)) / deliveries);
            figures.note(name, "receiver_cpu", micros(now.receiver.since(self.receiver)) / deliveries);
        }
        figures.note(name, "connections", now.received.connections.saturating_sub(self.received.connections) as f64);
        let used: Vec<Usage> = now.gateway.iter().zip(&self.gateway).map(|(now, before)| now.since(*before)).collect();
        gateway(name, &used, &running.pids(), deliveries, events.max(1) as f64, figures);
        figures.note(name, "signatures", now.received.signatures.checked.saturating_sub(self.received.signatures.checked) as f64);
        if let Some(fault) = unfit(&now.received.signatures, &self.received.signatures, &running.kind) {
            figures.fault(format!("{name}: {fault}"));
        }
        Ok(())
    }
}

/// Of all processes together; where there are several, CPU of each too.
fn gateway(name: &str, used: &[Usage], pids: &[u32], deliveries: Option<f64>, events: f64, figures: &mut Figures) {
    if used.is_empty() {
        return;
    }
    let all = Usage::sum(used.iter().copied());
    if let Some(deliveries) = deliveries {
        figures.note(name, "cpu", micros(all) / deliveries);
        figures.note(name, "switches", all.switches as f64 / deliveries);
        if used.len() > 1 {
            for (process, used) in usage::names(pids).iter().zip(used) {
                figures.note(name, &format!("{CPU_OF}{process}"), micros(*used) / deliveries);
            }
        }
    }
    figures.note(name, "cpu_per_event", micros(all) / events);
    figures.note(name, "written", all.written as f64 / events);
    figures.note(name, "descriptors", all.descriptors as f64);
}

/// How the measure of one process's CPU begins; its name follows.
pub const CPU_OF: &str = "cpu_of_";

fn micros(used: Usage) -> f64 {
    used.cpu.as_secs_f64() * 1e6
}

/// What is wrong with the signatures since `before`: what Posthorn sends is always signed.
fn unfit(now: &Signatures, before: &Signatures, kind: &Kind) -> Option<String> {
    let unsigned = now.unsigned - before.unsigned;
    match kind {
        // Another gateway may sign with keys of its own, or not at all.
        Kind::External(_) => None,
        _ if now.wrong > before.wrong => {
            Some(format!("{} of {} signatures were wrong: {:?}", now.wrong - before.wrong, now.checked - before.checked, now.fault))
        }
        Kind::Posthorn(_) if unsigned > 0 => Some(format!("{unsigned} deliveries of the sample were not signed")),
        _ => None,
    }
}
