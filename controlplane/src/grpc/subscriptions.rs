//! `posthorn.admin.v1.Subscriptions`.

use posthorn_domain::problem::Problem;
use posthorn_proto::admin::subscriptions_server::Subscriptions;
use posthorn_proto::admin::{
    Attempt, IdRequest, ListReplaysRequest, ListReplaysResponse, ListRequest, ListSubscriptionsResponse, PutSubscriptionRequest, Replay,
    ReplayIdRequest, ReplayRequest, ReplayResponse, RotateSecretRequest, Subscription,
};
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Door, convert, page, precondition, status};
use crate::api::Answer;

fn shown(answer: Result<Answer, Problem>) -> Result<Response<Subscription>, Status> {
    let answer = answer.map_err(|problem| status::of(&problem))?;
    Ok(Response::new(convert::subscription_message(answer.body)?))
}

#[tonic::async_trait]
impl Subscriptions for Door {
    async fn create_subscription(&self, request: Request<Subscription>) -> Result<Response<Subscription>, Status> {
        shown(self.api.create_subscription(&convert::subscription_document(request.get_ref())?).await)
    }

    async fn get_subscription(&self, request: Request<IdRequest>) -> Result<Response<Subscription>, Status> {
        shown(self.api.subscription(&request.get_ref().id).await)
    }

    async fn list_subscriptions(&self, request: Request<ListRequest>) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let request = request.get_ref();
        let listed = page(request.limit, &request.page_token).and_then(|page| self.api.subscriptions(&page));
        let (items, next_page_token) = convert::items(listed.map_err(|problem| status::of(&problem))?, convert::subscription_message)?;
        Ok(Response::new(ListSubscriptionsResponse { items, next_page_token }))
    }

    async fn put_subscription(&self, request: Request<PutSubscriptionRequest>) -> Result<Response<Subscription>, Status> {
        let PutSubscriptionRequest { subscription, if_match } = request.into_inner();
        let subscription = subscription.unwrap_or_default();
        let document = convert::subscription_document(&subscription)?;
        shown(self.api.replace_subscription(&subscription.id, &document, precondition(if_match)).await)
    }

    async fn delete_subscription(&self, request: Request<IdRequest>) -> Result<Response<()>, Status> {
        let IdRequest { id, if_match } = request.into_inner();
        let deleted = self.api.delete_subscription(&id, precondition(if_match)).await;
        deleted.map(Response::new).map_err(|problem| status::of(&problem))
    }

    async fn pause_subscription(&self, request: Request<IdRequest>) -> Result<Response<Subscription>, Status> {
        let IdRequest { id, if_match } = request.into_inner();
        shown(self.api.pause(&id, precondition(if_match)).await)
    }

    async fn resume_subscription(&self, request: Request<IdRequest>) -> Result<Response<Subscription>, Status> {
        let IdRequest { id, if_match } = request.into_inner();
        shown(self.api.resume(&id, precondition(if_match)).await)
    }

    async fn rotate_secret(&self, request: Request<RotateSecretRequest>) -> Result<Response<Subscription>, Status> {
        let RotateSecretRequest { id, overlap, if_match } = request.into_inner();
        shown(self.api.rotate_secret(&id, &json!({"overlap": overlap}), precondition(if_match)).await)
    }

    async fn test_subscription(&self, request: Request<IdRequest>) -> Result<Response<Attempt>, Status> {
        let attempt = self.api.test(&request.get_ref().id).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::message(attempt)?))
    }

    async fn replay_subscription(&self, request: Request<ReplayRequest>) -> Result<Response<ReplayResponse>, Status> {
        let ReplayRequest { id, from, to, rate } = request.into_inner();
        let begun = self.api.replay(&id, &json!({"from": from, "to": to, "rate": rate})).await;
        Ok(Response::new(convert::message(begun.map_err(|problem| status::of(&problem))?)?))
    }

    async fn list_replays(&self, request: Request<ListReplaysRequest>) -> Result<Response<ListReplaysResponse>, Status> {
        let ListReplaysRequest { id, limit, page_token } = request.into_inner();
        let page = page(limit, &page_token).map_err(|problem| status::of(&problem))?;
        let listed = self.api.replays(&id, &page).await.map_err(|problem| status::of(&problem))?;
        let (items, next_page_token) = convert::items(listed, convert::message)?;
        Ok(Response::new(ListReplaysResponse { items, next_page_token }))
    }

    async fn get_replay(&self, request: Request<ReplayIdRequest>) -> Result<Response<Replay>, Status> {
        let ReplayIdRequest { id, replay } = request.into_inner();
        let found = self.api.replay_of(&id, &replay).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::message(found)?))
    }

    async fn cancel_replay(&self, request: Request<ReplayIdRequest>) -> Result<Response<Replay>, Status> {
        let ReplayIdRequest { id, replay } = request.into_inner();
        let cancelled = self.api.cancel_replay(&id, &replay).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::message(cancelled)?))
    }
}
