//! The control plane through its doors, over real sockets and a real folder.

mod grpc;
mod nodes;
mod resources;
mod rest;
mod store;
mod support;
