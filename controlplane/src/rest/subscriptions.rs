//! `/v1/subscriptions`.

use axum::extract::State;

use super::{Call, Outcome, Reply, Shared};

pub(super) async fn list(State(shared): State<Shared>, call: Call) -> Outcome {
    Ok(Reply::ok(shared.api.subscriptions(&call.page(&[])?)?))
}

pub(super) async fn create(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    let answer = shared.api.create_subscription(&call.json()?).await?;
    Ok(Reply::resource(answer, |body| format!("/v1/subscriptions/{}", body["id"].as_str().unwrap_or_default())))
}

pub(super) async fn get(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.subscription(call.path("id")).await?))
}

pub(super) async fn put(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.replace_subscription(call.path("id"), &call.json()?, call.precondition()?).await?))
}

pub(super) async fn delete(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    shared.api.delete_subscription(call.path("id"), call.precondition()?).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn pause(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.pause(call.path("id"), call.precondition()?).await?))
}

pub(super) async fn resume(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.resume(call.path("id"), call.precondition()?).await?))
}

pub(super) async fn rotate_secret(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.rotate_secret(call.path("id"), &call.json_or_empty()?, call.precondition()?).await?))
}

pub(super) async fn verify(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.verify(call.path("id"))?))
}

pub(super) async fn test(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.test(call.path("id")).await?))
}

pub(super) async fn replay(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::Accepted(shared.api.replay(call.path("id"), &call.json()?).await?))
}

pub(super) async fn replays(State(shared): State<Shared>, call: Call) -> Outcome {
    Ok(Reply::ok(shared.api.replays(call.path("id"), &call.page(&[])?).await?))
}

pub(super) async fn get_replay(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.replay_of(call.path("id"), call.path("replay")).await?))
}

pub(super) async fn cancel_replay(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.cancel_replay(call.path("id"), call.path("replay")).await?))
}
