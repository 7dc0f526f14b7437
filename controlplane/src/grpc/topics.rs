//! `posthorn.admin.v1.Topics`.

use posthorn_proto::admin::topics_server::Topics;
use posthorn_proto::admin::{
    DeleteTopicRequest, ListRequest, ListTopicsResponse, NameRequest, PutTopicRequest, Topic, TopicQos, TopicQosRequest,
};
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Door, convert, page, precondition, status};

#[tonic::async_trait]
impl Topics for Door {
    async fn get_topic(&self, request: Request<NameRequest>) -> Result<Response<Topic>, Status> {
        let answer = self.api.topic(&request.get_ref().name).map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::message(answer.body)?))
    }

    async fn get_topic_qos(&self, request: Request<TopicQosRequest>) -> Result<Response<TopicQos>, Status> {
        let TopicQosRequest { name, schemas, durability, subscription } = request.into_inner();
        let asked = json!({"schemas": schemas, "durability": durability, "subscription": subscription});
        let answer = self.api.topic_qos(&name, &asked).map_err(|problem| status::of(&problem))?;
        Ok(Response::new(convert::qos_message(answer)?))
    }

    async fn list_topics(&self, request: Request<ListRequest>) -> Result<Response<ListTopicsResponse>, Status> {
        let request = request.get_ref();
        let listed = page(request.limit, &request.page_token).and_then(|page| self.api.topics(&page));
        let (items, next_page_token) = convert::items(listed.map_err(|problem| status::of(&problem))?, convert::message)?;
        Ok(Response::new(ListTopicsResponse { items, next_page_token }))
    }

    async fn put_topic(&self, request: Request<PutTopicRequest>) -> Result<Response<Topic>, Status> {
        let PutTopicRequest { topic, if_match } = request.into_inner();
        let topic = topic.unwrap_or_default();
        let written = self.api.put_topic(&topic.name, &convert::topic_document(&topic), precondition(if_match)).await;
        Ok(Response::new(convert::message(written.map_err(|problem| status::of(&problem))?.body)?))
    }

    async fn delete_topic(&self, request: Request<DeleteTopicRequest>) -> Result<Response<()>, Status> {
        let DeleteTopicRequest { name, force, if_match } = request.into_inner();
        let deleted = self.api.delete_topic(&name, force, precondition(if_match)).await;
        deleted.map(Response::new).map_err(|problem| status::of(&problem))
    }
}
