//! The gRPC contract, generated from the `.proto` files beside this crate. No logic lives here; only doors use these types.

/// Service and message descriptors of all packages, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[expect(missing_docs, reason = "generated from the documented .proto files")]
#[expect(clippy::all, reason = "generated")]
mod generated {
    pub mod posthorn {
        pub mod snapshot {
            pub mod v1 {
                tonic::include_proto!("posthorn.snapshot.v1");
            }
        }
        pub mod broker {
            pub mod v1 {
                tonic::include_proto!("posthorn.broker.v1");
            }
        }
    }
    pub mod io {
        pub mod cloudevents {
            pub mod v1 {
                tonic::include_proto!("io.cloudevents.v1");
            }
        }
    }
    pub mod google {
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
}

pub use generated::google::rpc;
pub use generated::io::cloudevents::v1 as cloudevents;
pub use generated::posthorn::broker::v1 as broker;
pub use generated::posthorn::snapshot::v1 as snapshot;
