//! An unsupported use of an engine.

use crate::settings::{self, EngineSettings};

/// An unsupported use of an engine.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A pool was started, a server asked for its health, or a listener opened, outside a tokio runtime.
    #[error(
        "engine `{engine}`: a pool can only be started, and its server asked, inside a tokio runtime. Call it from async code under #[with_pool] or #[tokio::main]"
    )]
    #[non_exhaustive]
    NoRuntime {
        /// The engine's name.
        engine: String,
    },
    /// `resize` was called before the pool was started.
    #[error("engine `{engine}`: its pool is not started, so it cannot be resized. Start it first")]
    #[non_exhaustive]
    NotStarted {
        /// The engine's name.
        engine: String,
    },
    /// `resize` was called on an engine that runs on a `sqlx::Pool`.
    #[error(
        "engine `{engine}`: it runs on a `sqlx::Pool`, which cannot be resized. Take an engine parameter instead of a `sqlx::Pool`"
    )]
    #[non_exhaustive]
    OnSqlx {
        /// The engine's name.
        engine: String,
    },
    /// A pool size is larger than any server accepts.
    #[error(
        "engine `{engine}`: a pool of {size} connections is larger than {most}. Give a smaller size"
    )]
    #[non_exhaustive]
    TooLarge {
        /// The engine's name.
        engine: String,
        /// The size that was asked for.
        size: u32,
        /// The largest size.
        most: u32,
    },
    /// `sqlx::Acquire::begin` on an engine, through code that is generic over it.
    #[error(
        "engine `{engine}`: code that is generic over `sqlx::Acquire` cannot begin a transaction on an engine, because sqlx's \
         transaction owns a connection of a `sqlx::Pool`. Pass `&mut checkout` from `acquire()`, or call `Engine::begin`"
    )]
    #[non_exhaustive]
    GenericBegin {
        /// The engine's name.
        engine: String,
    },
    /// The engine has no node of this name.
    #[error(
        "engine `{engine}` has no node `{node}`; known: {known}.{hint} Write [{section}.nodes.{node}] into poolhouse.toml to add it"
    )]
    #[non_exhaustive]
    UnknownNode {
        /// The engine's name.
        engine: String,
        /// The node that was asked for.
        node: String,
        /// The existing nodes.
        known: String,
        /// The node that was probably meant, as a sentence, or nothing.
        hint: String,
        /// The engine's section of the file.
        section: String,
    },
    /// `LISTEN` was sent through a pooler.
    #[error(
        "engine `{engine}`: LISTEN needs its own server session, which {pooler} does not give. Use `Engine::listener`, and set \
         `direct_url` to the URL that bypasses the pooler"
    )]
    #[non_exhaustive]
    Listen {
        /// The engine's name.
        engine: String,
        /// `pooler` with its value and source.
        pooler: String,
    },
    /// Migrations were to run through a pooler.
    #[error(
        "engine `{engine}`: migrations need their own server session, which {pooler} does not give. Set `direct_url` to the URL \
         that bypasses the pooler; they run there"
    )]
    #[non_exhaustive]
    Migrate {
        /// The engine's name.
        engine: String,
        /// `pooler` with its value and source.
        pooler: String,
    },
    /// A handler takes the request's transaction, and nothing ends it.
    #[cfg(feature = "web")]
    #[error(
        "engine `{engine}`: a handler takes a `RequestTransaction`, and nothing commits it. Add `{line}` to the application, \
         outside of each middleware that takes one"
    )]
    #[non_exhaustive]
    NoRequestTransactions {
        /// The engine's name.
        engine: String,
        /// The line of code that is missing.
        line: &'static str,
    },
    /// A handler asks for an engine that is not started, or that has ended.
    #[cfg(feature = "web")]
    #[error(
        "engine `{engine}`: a handler takes it, and it is not known here: not started yet, already closed, or started in another \
         runtime. Start it with #[with_pool] and end the server before its body returns; where handlers run on runtimes of \
         their own, as with actix-web's server, {line}"
    )]
    #[non_exhaustive]
    NoEngine {
        /// The engine's name.
        engine: String,
        /// The code that gives this framework an engine.
        line: &'static str,
    },
    /// The operating system refused a resource that a runtime needs.
    #[error("the tokio runtime could not be built: {reason}")]
    #[non_exhaustive]
    Runtime {
        /// The operating system's reason.
        reason: String,
    },
}

impl UsageError {
    pub(crate) fn unknown_node(engine: &str, node: &str, known: &[&str]) -> Self {
        let hint = settings::nearest(node, known.iter().copied());
        let section = settings::section(engine);
        Self::UnknownNode {
            engine: engine.to_owned(),
            node: node.to_owned(),
            known: settings::list_or_none(known),
            hint: hint
                .map(|name| format!(" Did you mean `{name}`?"))
                .unwrap_or_default(),
            section: section.trim_matches(['[', ']']).to_owned(),
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn listen(settings: &EngineSettings) -> Self {
        Self::Listen {
            engine: settings.engine.clone(),
            pooler: settings.describe("pooler"),
        }
    }

    pub(crate) fn migrate(settings: &EngineSettings) -> Self {
        Self::Migrate {
            engine: settings.engine.clone(),
            pooler: settings.describe("pooler"),
        }
    }
}
