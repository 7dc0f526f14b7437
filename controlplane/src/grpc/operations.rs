//! `posthorn.admin.v1.Operations`: deliveries, dead letters, nodes.

use posthorn_proto::admin::operations_server::Operations;
use posthorn_proto::admin::{
    CheckFilterRequest, CheckFilterResponse, DeadLetter, DeadLetterFilter, DeletedResponse, Delivery, ExplainRequest, ExplainStoredRequest,
    Explanation, IdRequest, ListDeadLettersRequest, ListDeadLettersResponse, ListDeliveriesRequest, ListDeliveriesResponse,
    ListNodesResponse, RetriedResponse, RetryDeadLetterRequest, RetryDeadLettersRequest,
};
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Door, convert, page, status};

#[tonic::async_trait]
impl Operations for Door {
    async fn list_deliveries(&self, request: Request<ListDeliveriesRequest>) -> Result<Response<ListDeliveriesResponse>, Status> {
        let ListDeliveriesRequest { subscription, topic, status: wanted, event_id, limit, page_token } = request.into_inner();
        let page = page(limit, &page_token).map_err(|problem| status::of(&problem))?;
        let filter = json!({"subscription": subscription, "topic": topic, "status": wanted, "event_id": event_id});
        let listed = self.api.deliveries(&filter, &page).await.map_err(|problem| status::of(&problem))?;
        let (items, next_page_token) = convert::items(listed, convert::message)?;
        Ok(Response::new(ListDeliveriesResponse { items, next_page_token }))
    }

    async fn get_delivery(&self, request: Request<IdRequest>) -> Result<Response<Delivery>, Status> {
        let found = self.api.delivery(&request.get_ref().id).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::message(found)?))
    }

    async fn list_dead_letters(&self, request: Request<ListDeadLettersRequest>) -> Result<Response<ListDeadLettersResponse>, Status> {
        let ListDeadLettersRequest { filter, limit, page_token } = request.into_inner();
        let page = page(limit, &page_token).map_err(|problem| status::of(&problem))?;
        let filter = convert::plain(&filter.unwrap_or_default());
        let listed = self.api.dead_letters(&filter, &page).await.map_err(|problem| status::of(&problem))?;
        let (items, next_page_token) = convert::items(listed, convert::dead_letter_message)?;
        Ok(Response::new(ListDeadLettersResponse { items, next_page_token }))
    }

    async fn get_dead_letter(&self, request: Request<IdRequest>) -> Result<Response<DeadLetter>, Status> {
        let found = self.api.dead_letter(&request.get_ref().id).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::dead_letter_message(found)?))
    }

    async fn delete_dead_letter(&self, request: Request<IdRequest>) -> Result<Response<()>, Status> {
        let deleted = self.api.delete_dead_letter(&request.get_ref().id).await;
        deleted.map(Response::new).map_err(|problem| status::of(&problem))
    }

    async fn delete_dead_letters(&self, request: Request<DeadLetterFilter>) -> Result<Response<DeletedResponse>, Status> {
        let deleted = self.api.delete_dead_letters(&convert::plain(request.get_ref())).await;
        Ok(Response::new(convert::message(deleted.map_err(|problem| status::of(&problem))?)?))
    }

    async fn retry_dead_letter(&self, request: Request<RetryDeadLetterRequest>) -> Result<Response<RetriedResponse>, Status> {
        let RetryDeadLetterRequest { id, validate_with } = request.into_inner();
        let retried = self.api.retry_dead_letter(&id, &json!({"validate_with": validate_with})).await;
        Ok(Response::new(convert::message(retried.map_err(|problem| status::of(&problem))?)?))
    }

    async fn retry_dead_letters(&self, request: Request<RetryDeadLettersRequest>) -> Result<Response<RetriedResponse>, Status> {
        let retried = self.api.retry_dead_letters(&convert::plain(request.get_ref())).await;
        Ok(Response::new(convert::retried_message(retried.map_err(|problem| status::of(&problem))?)?))
    }

    async fn check_filter(&self, request: Request<CheckFilterRequest>) -> Result<Response<CheckFilterResponse>, Status> {
        let document = convert::check_document(request.get_ref())?;
        let checked = self.api.check_filter(&document).map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::checked_message(checked)?))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<Explanation>, Status> {
        let document = convert::explain_document(request.get_ref())?;
        let explained = self.api.explain(&document, request.get_ref().all).await.map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::explained_message(explained)?))
    }

    async fn explain_stored(&self, request: Request<ExplainStoredRequest>) -> Result<Response<Explanation>, Status> {
        let ExplainStoredRequest { topic, partition, offset, all } = request.into_inner();
        let explained = self.api.explain_stored(&topic, &partition.to_string(), &offset.to_string(), all).await;
        Ok(Response::new(convert::explained_message(explained.map_err(|problem| status::of(&problem))?)?))
    }

    async fn list_nodes(&self, _: Request<()>) -> Result<Response<ListNodesResponse>, Status> {
        let listed = json!({"items": self.api.nodes()});
        let (items, _) = convert::items(listed, convert::message)?;
        Ok(Response::new(ListNodesResponse { items }))
    }
}
