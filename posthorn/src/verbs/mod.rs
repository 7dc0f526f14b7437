//! What the client verbs do, one file a noun. Each asks a door and prints the answer.

pub mod config;
mod dead_letter;
mod delivery;
mod filter;
mod node;
mod pages;
mod publish;
mod reader;
mod schema;
pub mod sse;
mod subscription;
mod tail;
mod topic;

use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::cli::{Command, Global, Output};
use crate::client::{Door, Error, body};
use crate::listen;

/// What verbs work with.
struct Context {
    control: Door,
    data: Door,
    output: Output,
}

/// Runs a client verb to its end and says on standard error what went wrong.
pub fn run(command: Command, global: &Global) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    runtime.block_on(dispatch(command, global)).unwrap_or_else(|error| report(&error))
}

fn report(error: &Error) -> ExitCode {
    eprintln!("posthorn: {error}");
    error.exit_code()
}

async fn dispatch(command: Command, global: &Global) -> Result<ExitCode, Error> {
    let context = Context { control: Door::new(&global.control)?, data: Door::new(&global.data)?, output: global.output };
    match command {
        Command::Topic(verb) => topic::run(&context, verb).await,
        Command::Schema(verb) => schema::run(&context, verb).await,
        Command::Subscription(verb) => subscription::run(&context, verb).await,
        Command::Reader(verb) => reader::run(&context, verb).await,
        Command::Publish(args) => publish::run(&context, &args).await,
        Command::Tail(args) => tail::run(&context, &args).await,
        Command::Listen(args) => listen::run(&args, global.output).await,
        Command::Filter(verb) => filter::run(&context, verb).await,
        Command::Explain(args) => filter::explain(&context, &args).await,
        Command::DeadLetter(verb) => dead_letter::run(&context, verb).await,
        Command::Delivery(verb) => delivery::run(&context, verb).await,
        Command::Node(verb) => node::run(&context, verb).await,
        Command::Serve(_) | Command::Dataplane(_) | Command::Controlplane(_) | Command::Demo(_) | Command::Config(_) => {
            Err(Error::Usage("not a client verb".into()))
        }
    }
}

/// The body that `--file` names, an empty one without.
fn object(file: Option<&str>) -> Result<Map<String, Value>, Error> {
    match file.map(body::read).transpose()? {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(Error::Usage("the body must be an object".into())),
    }
}

/// Sets a member when the flag was given; `path` has dots for nested members.
fn set(body: &mut Map<String, Value>, path: &str, value: Option<impl Into<Value>>) {
    let Some(value) = value else { return };
    match path.split_once('.') {
        None => drop(body.insert(path.to_owned(), value.into())),
        Some((name, rest)) => {
            let nested = body.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(nested) = nested {
                set(nested, rest, Some(value));
            }
        }
    }
}
