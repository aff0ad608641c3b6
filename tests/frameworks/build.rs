//! The gRPC service, described here instead of in a `.proto` file, so that no `protoc` is needed.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let add = Method::builder()
        .name("add")
        .route_name("Add")
        .input_type("crate::on_tonic::Band")
        .output_type("crate::on_tonic::Added")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let bands = Service::builder()
        .name("Bands")
        .package("bands")
        .method(add)
        .build();
    let act = Method::builder()
        .name("act")
        .route_name("Act")
        .input_type("crate::service::on_tonic::Call")
        .output_type("crate::service::on_tonic::Done")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let acts = Service::builder()
        .name("Acts")
        .package("acts")
        .method(act)
        .build();
    Builder::new().compile(&[bands, acts]);
}
