//! `/v1/deliveries` and `/v1/dead-letters`: what the data planes know.

use axum::extract::State;

use super::{Call, Outcome, Reply, Shared};
use crate::api::{DEAD_LETTER_PARAMETERS, DELIVERY_PARAMETERS};

pub(super) async fn list(State(shared): State<Shared>, call: Call) -> Outcome {
    let page = call.page(&DELIVERY_PARAMETERS)?;
    Ok(Reply::ok(shared.api.deliveries(&call.filter(&DELIVERY_PARAMETERS), &page).await?))
}

pub(super) async fn get(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.delivery(call.path("id")).await?))
}

pub(super) async fn list_dead(State(shared): State<Shared>, call: Call) -> Outcome {
    let page = call.page(&DEAD_LETTER_PARAMETERS)?;
    Ok(Reply::ok(shared.api.dead_letters(&call.filter(&DEAD_LETTER_PARAMETERS), &page).await?))
}

pub(super) async fn get_dead(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.dead_letter(call.path("id")).await?))
}

pub(super) async fn delete_dead(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    shared.api.delete_dead_letter(call.path("id")).await?;
    Ok(Reply::Nothing)
}

pub(super) async fn purge(State(shared): State<Shared>, call: Call) -> Outcome {
    call.only(&DEAD_LETTER_PARAMETERS)?;
    Ok(Reply::ok(shared.api.delete_dead_letters(&call.filter(&DEAD_LETTER_PARAMETERS)).await?))
}

pub(super) async fn retry_one(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::Accepted(shared.api.retry_dead_letter(call.path("id"), &call.json_or_empty()?).await?))
}

pub(super) async fn retry_many(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::Accepted(shared.api.retry_dead_letters(&call.json_or_empty()?).await?))
}
