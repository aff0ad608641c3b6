//! What is said when a URL names a database whose feature is off. Only a build without that feature can show it:
//! `cargo test -p poolhouse --no-default-features --features sqlite --test feature_off`.

#![cfg(not(feature = "mysql"))]

use poolhouse::{Error, with_pool};

#[with_pool(url = "mysql://band:s3cret@localhost/music", start_timeout = "1s")]
async fn body() -> Result<(), Error> {
    panic!("there is nothing that it could run on");
}

#[tokio::test]
async fn the_error_names_the_feature() {
    let error = body().await.expect_err("nothing here speaks to MySQL");
    let said = error.to_string();
    assert!(
        said.contains("Enable the feature `mysql` of `poolhouse` in Cargo.toml"),
        "{said}"
    );
    assert!(said.contains("engine `default`"), "{said}");
    assert!(
        said.contains("mysql://band:***@localhost/music (attribute, runtime/tests/feature_off.rs:"),
        "{said}"
    );
    assert!(!format!("{said} {error:?}").contains("s3cret"), "{error:?}");
}
