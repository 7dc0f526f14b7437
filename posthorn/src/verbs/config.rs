//! `config check|dump|schema`.

use std::process::ExitCode;

use crate::cli::{ConfigVerb, Output, ServerArgs};
use crate::{bad_configuration, config, output, report};

/// Needs no server.
pub fn run(verb: &ConfigVerb, format: Output) -> ExitCode {
    match verb {
        ConfigVerb::Check(args) => with(args, |_| Ok("the configuration is right".into())),
        ConfigVerb::Dump(args) => with(args, |config| match format {
            Output::Table => Ok(serde_saphyr::to_string(&config.shown())?),
            Output::Json => Ok(serde_json::to_string_pretty(&config.shown())?),
        }),
        ConfigVerb::Schema => print(serde_json::to_string_pretty(&config::schema()).map_err(Into::into)),
    }
}

fn with(args: &ServerArgs, show: impl FnOnce(&config::Config) -> anyhow::Result<String>) -> ExitCode {
    match config::load(&args.into(), config::environment()) {
        Ok(config) => print(show(&config)),
        Err(faults) => bad_configuration(&faults),
    }
}

fn print(text: anyhow::Result<String>) -> ExitCode {
    report(text.and_then(|text| Ok(output::line(text.trim_end())?)).map(|()| ExitCode::SUCCESS))
}
