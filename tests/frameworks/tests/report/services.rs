//! The services of the table.

use crate::drive::client::Client;

/// The service on one framework.
pub(crate) struct Compared {
    pub(crate) framework: &'static str,
    /// The program's name and its protocol.
    pub(crate) program: (&'static str, Client),
    /// The line that the service prints after a signal, if any.
    pub(crate) noticed: Option<&'static str>,
}

const fn compared(framework: &'static str, program: &'static str, client: Client) -> Compared {
    Compared {
        framework,
        program: (program, client),
        noticed: None,
    }
}

const fn with_poolhouse(
    framework: &'static str,
    program: &'static str,
    client: Client,
) -> Compared {
    Compared {
        noticed: Some("a signal asks the program to end"),
        ..compared(framework, program, client)
    }
}

/// The services written by hand.
pub(crate) const SQLX_ALONE: &[Compared] = &[
    compared("axum", "axum, sqlx alone", Client::Http),
    compared("actix-web", "actix-web, sqlx alone", Client::Http),
    compared("Rocket", "rocket, sqlx alone", Client::Http),
    compared("tonic", "tonic, sqlx alone", Client::Grpc),
    compared("poem", "poem, sqlx alone", Client::Http),
];

/// The services on poolhouse, which listens for the signals.
pub(crate) const POOLHOUSE: &[Compared] = &[
    with_poolhouse("axum", "axum", Client::Http),
    with_poolhouse("actix-web", "actix-web with Shutdown", Client::Http),
    with_poolhouse("Rocket", "rocket with Shutdown", Client::Http),
    with_poolhouse("tonic", "tonic", Client::Grpc),
    with_poolhouse("poem", "poem", Client::Http),
];
