//! What the compiler says about code under `#[with_pool]`.
//!
//! | module | the promise |
//! |---|---|
//! | [`messages`] | each mistake is explained at its own token, and nothing else turns red |
//! | [`twins`] | what is said about the body is word for word what is said without the attribute, by clippy too |
//! | [`coverage`] | a coverage report counts the same lines with the attribute as without it |
//! | [`production`] | what only tests need is not in a program, and a test without it is told what to write |
//! | [`renamed`] | generated code finds poolhouse under the name that `crate` gives |
//!
//! Most read rustc's JSON from one generated package each, and share one compiled set of dependencies: Postgres
//! without encryption, which needs no C compiler. That is why this is not `trybuild`: it gives the first of the two, and
//! compiles sqlx once more with flags of its own for it.

mod coverage;
mod messages;
mod production;
mod project;
mod renamed;
mod twins;
