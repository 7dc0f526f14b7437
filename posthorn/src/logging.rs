//! Log lines go to standard error; standard output is for answers and the ready line.

use std::io::IsTerminal as _;

use posthorn_dataplane::trace::TARGET;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Config, LogFormat};

/// Sets it up; `RUST_LOG` wins over the configuration. Once a process.
pub fn start(config: &Config) {
    let level = &config.logging.level;
    // The stores speak at `info` of every file that they open.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("fjall=warn,lsm_tree=warn,{level}")));
    // How much is sampled is said by `tracing.*`, whatever the level of the rest. A closed span is a line.
    let (filter, spans) = if config.traces().is_on() {
        let ours: Directive = format!("{TARGET}={}", LevelFilter::INFO).parse().expect("a target and a level");
        (filter.add_directive(ours), FmtSpan::CLOSE)
    } else {
        (filter, FmtSpan::NONE)
    };
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_span_events(spans);
    // A line that cannot be written, to a file on a full disk for instance, is lost. Said on the same standard error it would be a panic.
    let builder = builder.log_internal_errors(false);
    match config.logging.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
