//! Compiler messages about code under `#[with_pool]`.
//!
//! | module | the promise |
//! |---|---|
//! | [`messages`] | each mistake is explained at its own token, and nothing else turns red |
//! | [`twins`] | messages about the body, also of clippy, are word for word those without the attribute |
//! | [`coverage`] | a coverage report counts the same lines with the attribute as without it |
//! | [`production`] | a program contains no code of tests; a test without the feature gets an error with the cure |
//! | [`renamed`] | generated code finds poolhouse under the name that `crate` gives |
//!
//! Most read rustc's JSON from one generated package each, and share one compiled set of dependencies: Postgres
//! without encryption, which needs no C compiler. `trybuild` is not used, because it covers only [`messages`] and compiles
//! sqlx once more with its own flags.

mod coverage;
mod messages;
mod production;
mod project;
mod renamed;
mod twins;
