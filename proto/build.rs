//! Compiles the protocol definitions with a compiler written in Rust, so that no `protoc` need be installed.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 3] = ["posthorn/snapshot/v1/snapshot.proto", "posthorn/broker/v1/broker.proto", "io/cloudevents/v1/cloudevents.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=posthorn");
    println!("cargo:rerun-if-changed=io");
    println!("cargo:rerun-if-changed=google");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
