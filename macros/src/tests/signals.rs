//! Runtime attributes under which a server handles the signals.

use super::expand;

fn is_beside_server(attribute: &str) -> bool {
    let source = format!("#[with_pool] {attribute} async fn main(db: PgEngine) {{}}");
    expand(&source).to_string().contains("beside_server")
}

#[test]
fn signals_are_left_to_frameworks_that_listen_themselves() {
    for attribute in [
        "#[actix_web::main]",
        "#[::actix_web::main]",
        "#[rocket::main]",
        "#[ntex::main]",
        "#[cfg_attr(all(), rocket::main)]",
    ] {
        assert!(is_beside_server(attribute), "{attribute}");
    }
}

#[test]
fn they_are_left_to_nobody_else() {
    for attribute in [
        "",
        "#[tokio::main]",
        "#[main]",
        "#[actix_rt::main]",
        "#[my::rocket::main]",
    ] {
        assert!(!is_beside_server(attribute), "{attribute}");
    }
    // Any other function has no signals by default.
    let lifespan = "#[with_pool] async fn rocket(#[pool] db: PgEngine) {}";
    assert!(!expand(lifespan).to_string().contains("beside_server"));
}
