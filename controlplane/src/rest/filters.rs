//! `/v1/filters/check` and `explain`.

use axum::extract::State;

use super::{Call, Outcome, Reply, Shared};

pub(super) async fn check(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.check_filter(&call.json()?)?))
}

pub(super) async fn explain(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&["all"])?;
    Ok(Reply::ok(shared.api.explain(&call.json()?, call.flag("all")?).await?))
}

pub(super) async fn explain_stored(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&["all"])?;
    let (topic, partition, offset) = (call.path("name"), call.path("partition"), call.path("offset"));
    Ok(Reply::ok(shared.api.explain_stored(topic, partition, offset, call.flag("all")?).await?))
}
