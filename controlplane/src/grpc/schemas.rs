//! `posthorn.admin.v1.Schemas`.

use posthorn_domain::problem::Problem;
use posthorn_domain::resource::UnknownMode;
use posthorn_proto::admin::schemas_server::Schemas;
use posthorn_proto::admin::{
    AddSchemaVersionRequest, DeleteSchemaRequest, DeprecateSchemaVersionRequest, ListRequest, ListSchemaVersionsRequest,
    ListSchemaVersionsResponse, ListSchemasResponse, NameRequest, PutSchemaRequest, SchemaCheck, SchemaInfo, SchemaVersion,
    SchemaVersionRequest,
};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{Door, convert, page, precondition, status};
use crate::api::{AddOptions, Answer};

impl Door {
    async fn add(&self, request: AddSchemaVersionRequest, dry_run: bool) -> Result<Value, Status> {
        let version = request.version.unwrap_or_default();
        let document = convert::version_document(&version)?;
        let mode = request.compatibility.filter(|_| dry_run).map(|mode| mode.parse()).transpose();
        let mode = mode.map_err(|error: UnknownMode| Status::invalid_argument(error.to_string()))?;
        let options =
            AddOptions { dry_run, sample: request.sample, override_undecided: request.override_undecided, mode, force: request.force };
        self.api.add_version(&version.name, &document, options).await.map(|answer| answer.body).map_err(|problem| status::of(&problem))
    }
}

fn body(answer: Result<Answer, Problem>) -> Result<Value, Status> {
    answer.map(|answer| answer.body).map_err(|problem| status::of(&problem))
}

#[tonic::async_trait]
impl Schemas for Door {
    async fn get_schema(&self, request: Request<NameRequest>) -> Result<Response<SchemaInfo>, Status> {
        Ok(Response::new(convert::message(body(self.api.schema(&request.get_ref().name))?)?))
    }

    async fn list_schemas(&self, request: Request<ListRequest>) -> Result<Response<ListSchemasResponse>, Status> {
        let request = request.get_ref();
        let listed = page(request.limit, &request.page_token).and_then(|page| self.api.schemas(&page));
        let (items, next_page_token) = convert::items(listed.map_err(|problem| status::of(&problem))?, convert::message)?;
        Ok(Response::new(ListSchemasResponse { items, next_page_token }))
    }

    async fn put_schema(&self, request: Request<PutSchemaRequest>) -> Result<Response<SchemaInfo>, Status> {
        let PutSchemaRequest { name, compatibility, if_match } = request.into_inner();
        let document = json!({"compatibility": compatibility});
        let written = self.api.put_schema(&name, &document, precondition(if_match)).await;
        Ok(Response::new(convert::message(body(written)?)?))
    }

    async fn add_schema_version(&self, request: Request<AddSchemaVersionRequest>) -> Result<Response<SchemaVersion>, Status> {
        Ok(Response::new(convert::version_message(self.add(request.into_inner(), false).await?)?))
    }

    async fn check_schema_version(&self, request: Request<AddSchemaVersionRequest>) -> Result<Response<SchemaCheck>, Status> {
        let mut report = self.add(request.into_inner(), true).await?;
        for member in ["counterexample", "sample"] {
            if !report[member].is_null() {
                convert::texts(&mut report, member);
            }
        }
        Ok(Response::new(convert::message(report)?))
    }

    async fn get_schema_version(&self, request: Request<SchemaVersionRequest>) -> Result<Response<SchemaVersion>, Status> {
        let request = request.get_ref();
        Ok(Response::new(convert::version_message(body(self.api.version(&request.name, &request.version))?)?))
    }

    async fn list_schema_versions(
        &self,
        request: Request<ListSchemaVersionsRequest>,
    ) -> Result<Response<ListSchemaVersionsResponse>, Status> {
        let request = request.get_ref();
        let listed = page(request.limit, &request.page_token).and_then(|page| self.api.versions(&request.name, &page));
        let (items, next_page_token) = convert::items(listed.map_err(|problem| status::of(&problem))?, convert::version_message)?;
        Ok(Response::new(ListSchemaVersionsResponse { items, next_page_token }))
    }

    async fn deprecate_schema_version(&self, request: Request<DeprecateSchemaVersionRequest>) -> Result<Response<SchemaVersion>, Status> {
        let DeprecateSchemaVersionRequest { name, version, deprecated, if_match } = request.into_inner();
        let document = json!({"deprecated": deprecated});
        let written = self.api.put_version(&name, &version.to_string(), &document, precondition(if_match)).await;
        Ok(Response::new(convert::version_message(body(written)?)?))
    }

    async fn delete_schema(&self, request: Request<DeleteSchemaRequest>) -> Result<Response<()>, Status> {
        let DeleteSchemaRequest { name, if_match } = request.into_inner();
        let deleted = self.api.delete_schema(&name, precondition(if_match)).await;
        deleted.map(Response::new).map_err(|problem| status::of(&problem))
    }

    async fn delete_schema_version(&self, request: Request<SchemaVersionRequest>) -> Result<Response<()>, Status> {
        let SchemaVersionRequest { name, version, if_match } = request.into_inner();
        let deleted = self.api.delete_version(&name, &version, precondition(if_match)).await;
        deleted.map(Response::new).map_err(|problem| status::of(&problem))
    }
}
