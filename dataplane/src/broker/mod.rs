//! The gRPC door for publishers (interfaces §8): `posthorn.broker.v1.EventBroker`, health and reflection.
//!
//! It shares the pipeline with the HTTP door, so that both give the same answers. Only `app` calls [`serve`].

mod deadline;
mod decode;
mod server;
mod service;
mod status;

pub use server::{Limits, ServeError, serve};
