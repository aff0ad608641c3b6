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
    Builder::new().compile(&[bands]);
}
