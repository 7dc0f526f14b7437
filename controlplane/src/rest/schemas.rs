//! `/v1/schemas`.

use axum::extract::State;
use posthorn_domain::problem::{Code, Problem};

use super::{Call, Outcome, Reply, Shared};
use crate::api::AddOptions;

pub(super) async fn list(State(shared): State<Shared>, call: Call) -> Outcome {
    Ok(Reply::ok(shared.api.schemas(&call.page(&[])?)?))
}

pub(super) async fn get(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.schema(call.path("name"))?))
}

pub(super) async fn put(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    let name = call.path("name");
    let answer = shared.api.put_schema(name, &call.json()?, call.precondition()?).await?;
    Ok(Reply::resource(answer, |_| format!("/v1/schemas/{name}")))
}

pub(super) async fn versions(State(shared): State<Shared>, call: Call) -> Outcome {
    Ok(Reply::ok(shared.api.versions(call.path("name"), &call.page(&[])?)?))
}

pub(super) async fn add(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&["dry_run", "sample", "force"])?;
    let options = AddOptions { dry_run: call.flag("dry_run")?, sample: sample(&call)?, force: call.flag("force")? };
    let name = call.path("name");
    let answer = shared.api.add_version(name, &call.json()?, options).await?;
    Ok(Reply::resource(answer, |body| format!("/v1/schemas/{name}/versions/{}", body["version"])))
}

fn sample(call: &Call) -> Result<Option<u32>, Problem> {
    let Some(text) = call.parameter("sample") else { return Ok(None) };
    let count = text.parse().ok().filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| Problem::new(Code::InvalidRequest, "the parameter `sample` must be a number of events, at least 1"))
}

pub(super) async fn version(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.version(call.path("name"), call.path("version"))?))
}

pub(super) async fn delete(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    shared.api.delete_version(call.path("name"), call.path("version"), call.precondition()?).await?;
    Ok(Reply::Nothing)
}
