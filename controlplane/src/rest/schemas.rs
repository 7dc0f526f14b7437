//! `/v1/schemas`.

use axum::extract::State;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Compatibility, UnknownMode};

use super::{Call, Outcome, Reply, Shared};
use crate::api::{AddOptions, Answer};

pub(super) async fn list(State(shared): State<Shared>, call: Call) -> Outcome {
    let revision = shared.api.revision();
    let page = shared.api.schemas(&call.page(&[])?)?;
    Ok(Reply::public(Answer::read(page, revision), call.known()))
}

pub(super) async fn get(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::public(shared.api.schema(call.path("name"))?, call.known()))
}

pub(super) async fn put(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    let name = call.path("name");
    let answer = shared.api.put_schema(name, &call.json()?, call.precondition()?).await?;
    Ok(Reply::resource(answer, |_| format!("/v1/schemas/{name}")))
}

pub(super) async fn versions(State(shared): State<Shared>, call: Call) -> Outcome {
    let revision = shared.api.revision();
    let page = shared.api.versions(call.path("name"), &call.page(&[])?)?;
    Ok(Reply::public(Answer::read(page, revision), call.known()))
}

pub(super) async fn add(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&["dry_run", "sample", "override", "compatibility", "force"])?;
    let options = AddOptions {
        dry_run: call.flag("dry_run")?,
        sample: sample(&call)?,
        override_undecided: call.flag("override")?,
        mode: mode(&call)?,
        force: call.flag("force")?,
    };
    let name = call.path("name");
    let answer = shared.api.add_version(name, &call.json()?, options).await?;
    Ok(Reply::resource(answer, |body| format!("/v1/schemas/{name}/versions/{}", body["version"])))
}

fn sample(call: &Call) -> Result<Option<u32>, Problem> {
    let Some(text) = call.parameter("sample") else { return Ok(None) };
    let count = text.parse().ok().filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| Problem::new(Code::InvalidRequest, "the parameter `sample` must be a number of events, at least 1"))
}

/// Another mode than the schema's own would be a way around it.
fn mode(call: &Call) -> Result<Option<Compatibility>, Problem> {
    let Some(text) = call.parameter("compatibility") else { return Ok(None) };
    if !call.flag("dry_run")? {
        let detail = "the parameter `compatibility` goes with `dry_run=true`; PUT /v1/schemas/{name} sets the mode";
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let mode =
        text.parse().map_err(|error: UnknownMode| Problem::new(Code::InvalidRequest, format!("the parameter `compatibility`: {error}")))?;
    Ok(Some(mode))
}

pub(super) async fn version(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::public(shared.api.version(call.path("name"), call.path("version"))?, call.known()))
}

pub(super) async fn put_version(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    let (name, version) = (call.path("name"), call.path("version"));
    let answer = shared.api.put_version(name, version, &call.json()?, call.precondition()?).await?;
    Ok(Reply::existing(answer))
}

pub(super) async fn delete(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    shared.api.delete_version(call.path("name"), call.path("version"), call.precondition()?).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn delete_schema(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    shared.api.delete_schema(call.path("name"), call.precondition()?).await?;
    Ok(Reply::Nothing)
}
