//! `/v1/topics`.

use axum::extract::State;

use super::{Call, Outcome, Reply, Shared};
use crate::api::TOPIC_QOS_PARAMETERS;

pub(super) async fn list(State(shared): State<Shared>, call: Call) -> Outcome {
    Ok(Reply::ok(shared.api.topics(&call.page(&[])?)?))
}

pub(super) async fn get(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::existing(shared.api.topic(call.path("name"))?))
}

pub(super) async fn put(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    let name = call.path("name");
    let answer = shared.api.put_topic(name, &call.json()?, call.precondition()?).await?;
    Ok(Reply::resource(answer, |_| format!("/v1/topics/{name}")))
}

pub(super) async fn delete(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&["force"])?;
    shared.api.delete_topic(call.path("name"), call.flag("force")?, call.precondition()?).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn qos(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&TOPIC_QOS_PARAMETERS)?;
    Ok(Reply::ok(shared.api.topic_qos(call.path("name"), &call.filter(&TOPIC_QOS_PARAMETERS))?))
}
