//! Starting and closing an engine's pool.

use std::future::Future;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Instant;

use sqlx::migrate::{MigrateError, Migrator};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Engine, Phase, Server};
use crate::backend::{self, Backend, MigrationsLock};
use crate::error::{Error, StartError, UsageError};
use crate::pool::{self, Checkout, CloseReport, Connector, Holder, Left, Pool};
use crate::settings::{EngineSettings, SharedMigrator};

/// What a pool stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Base {
    /// The engine's own places.
    #[default]
    Own,
    /// A `sqlx::Pool`, because a parameter asks for one.
    Sqlx,
}

impl<DB: Backend> Engine<DB> {
    /// Starts the pool: connects, creates `extensions`, runs `migrations`. From now on every query uses it.
    ///
    /// Starting a started pool shares it; it is closed when as many have called
    /// [`close_connection_pool`](Engine::close_connection_pool).
    ///
    /// # Errors
    ///
    /// The server could not be reached within `start_timeout` (default 30 s), rejected us, or a migration failed. Nothing
    /// stays open.
    ///
    /// # Cancellation
    ///
    /// What was opened is closed in the background.
    pub fn start_connection_pool(&self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        async move {
            let settings = Arc::clone(&self.connector().settings);
            self.start_with(settings, Base::Own).await
        }
    }

    /// Closes the pool: new checkouts are refused at once, idle connections are closed side by side, the others have up to
    /// `close_timeout` (default 10 s) to come back, and what is left then is ended on the server, where there is one. It
    /// never hangs, and never panics.
    ///
    /// A pool that is not started is left alone, and the report says so.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the pool stays closed for newcomers; its connections close as they come back.
    pub fn close_connection_pool(&self) -> impl Future<Output = CloseReport> + Send + '_ {
        async move { self.close(&CancellationToken::new()).await }
    }

    /// Starts the pool with these settings, or shares one that was started with the same.
    pub(crate) async fn start_with(
        &self,
        settings: Arc<EngineSettings>,
        base: Base,
    ) -> Result<(), Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(UsageError::NoRuntime {
                engine: self.0.name.clone(),
            }
            .into());
        }
        let _turn = self.0.turn.lock().await;
        if self.share(&settings, base)? {
            return Ok(());
        }
        let span = tracing::info_span!("start_connection_pool", engine = %self.0.name);
        // Boxed, because it is large, and part of the future of every function that starts a pool.
        Box::pin(self.open(settings, base)).instrument(span).await
    }

    async fn open(&self, settings: Arc<EngineSettings>, base: Base) -> Result<(), Error> {
        let begun = Instant::now();
        self.0.nodes.configure(&settings)?;
        let connector = self.connector_for(settings)?;
        let pool = match base {
            Base::Own => Pool::start(Arc::clone(&connector)).await?,
            Base::Sqlx => Pool::start_on_sqlx(Arc::clone(&connector)).await?,
        };
        let server = match prepare(&pool, &connector).await {
            Ok(server) => server,
            Err(error) => {
                pool.close(&CancellationToken::new()).await;
                return Err(error);
            }
        };
        report_start(&pool, &connector, server.as_ref(), begun);
        if let Err(error) = self.0.nodes.start().await {
            pool.close(&CancellationToken::new()).await;
            return Err(error);
        }
        self.set_phase(Phase::Started {
            pool,
            owners: 1,
            connector,
            server,
        });
        Ok(())
    }

    /// A connector with these settings: the one that was made when they were given to the engine, if it has not been
    /// started since. A driver's options also hold what it has read elsewhere, such as a password file.
    fn connector_for(&self, settings: Arc<EngineSettings>) -> Result<Arc<Connector<DB>>, Error> {
        match &*self.phase() {
            Phase::Configured(connector) if Arc::ptr_eq(&connector.settings, &settings) => {
                Ok(Arc::clone(connector))
            }
            _ => Ok(Arc::new(Connector::new(settings)?)),
        }
    }

    /// Becomes one more owner of a started pool; false when it is not started.
    fn share(&self, settings: &EngineSettings, base: Base) -> Result<bool, Error> {
        let mut phase = self.0.phase.write().unwrap_or_else(PoisonError::into_inner);
        let Phase::Started {
            pool,
            owners,
            connector,
            ..
        } = &mut *phase
        else {
            return Ok(false);
        };
        settings.same_as(&connector.settings)?;
        if base == Base::Sqlx && pool.as_sqlx().is_none() {
            return Err(StartError::not_on_sqlx(settings).into());
        }
        *owners += 1;
        Ok(true)
    }

    /// Closes the pool if this is its last owner. `hurry` ends the waiting.
    pub(crate) async fn close(&self, hurry: &CancellationToken) -> CloseReport {
        let _turn = self.0.turn.lock().await;
        let pool = {
            let mut phase = self.0.phase.write().unwrap_or_else(PoisonError::into_inner);
            match &mut *phase {
                Phase::Configured(_) | Phase::Closed(_) => {
                    return self.left(Left::NotStarted);
                }
                Phase::Started { owners, .. } if *owners > 1 => {
                    *owners -= 1;
                    return self.left(Left::Shared);
                }
                Phase::Started {
                    pool, connector, ..
                } => {
                    let pool = pool.clone();
                    *phase = Phase::Closed(Arc::clone(connector));
                    pool
                }
            }
        };
        let span = tracing::info_span!("close_connection_pool", engine = %self.0.name);
        self.0.nodes.close(hurry).await;
        let report = pool.close(hurry).instrument(span).await;
        if report.is_clean() {
            tracing::info!(engine = %self.0.name, "{report}");
        } else {
            tracing::warn!(engine = %self.0.name, "{report}");
        }
        report
    }

    fn left(&self, left: Left) -> CloseReport {
        let report = CloseReport::left(&self.0.name, left);
        tracing::info!(engine = %self.0.name, "{report}");
        report
    }
}

/// What happens once on a new pool, before anyone uses it: the server's version, extensions, migrations.
async fn prepare<DB: Backend>(
    pool: &Pool<DB>,
    connector: &Arc<Connector<DB>>,
) -> Result<Option<Server>, Error> {
    let settings = &connector.settings;
    let migrator = settings.migrator().await?;
    let changes_nothing = migrator.is_none() && settings.extensions.is_empty();
    if settings.lazy && changes_nothing {
        return Ok(None);
    }
    if changes_nothing
        && !connector.is_to_look_for_pooler()
        && let Some(version) = connector.known_version()
    {
        connector.note_version(&version);
        let kind = connector.dialect().name;
        return Ok(Some(Server { kind, version }));
    }
    let mut checkout = pool.checkout(Holder::Engine).await?;
    let version = match connector.known_version() {
        Some(version) => version,
        None => {
            checkout
                .run(|connection, _| DB::text(connection, connector.dialect().version))
                .await?
        }
    };
    checkout
        .run(|connection, _| Box::pin(connector.look_for_pooler(connection)))
        .await?;
    connector.note_version(&version);
    if migrator.is_some() || !settings.extensions.is_empty() {
        if let Some(direct) = pool::open_direct(connector).await? {
            checkout = direct;
        }
        create_extensions(&mut checkout, connector).await;
    }
    if let Some(migrator) = migrator {
        migrate(checkout, connector, &migrator).await?;
    }
    let kind = connector.dialect().name;
    Ok(Some(Server { kind, version }))
}

async fn create_extensions<DB: Backend>(checkout: &mut Checkout<DB>, connector: &Connector<DB>) {
    let settings = &connector.settings;
    if let Some(create) = connector.dialect().create_extension {
        for extension in &settings.extensions {
            let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(create(extension)));
            if let Err(error) = checkout
                .run(|connection, _| DB::execute(connection, statement))
                .await
            {
                // Most often a right is missing, and the extension is there already or not needed yet.
                tracing::warn!(engine = %settings.engine, extension, %error, "the extension could not be created");
            }
        }
    } else if !settings.extensions.is_empty() {
        tracing::warn!(
            engine = %settings.engine,
            "{} has no extensions to create: {}",
            connector.dialect().name,
            settings.describe("extensions"),
        );
    }
}

async fn migrate<DB: Backend>(
    mut checkout: Checkout<DB>,
    connector: &Connector<DB>,
    migrator: &SharedMigrator,
) -> Result<(), Error> {
    let settings = &connector.settings;
    let lock = connector.dialect().migrations_lock;
    let to_run = migrator.clone();
    let run = checkout.run(|connection, _| {
        let work = async move {
            match lock {
                MigrationsLock::Driver => DB::migrate(connection, &to_run).await?,
                MigrationsLock::Queries { take, give_back } => {
                    must_be_one(DB::number(connection, take).await?)?;
                    DB::migrate(connection, &to_run).await?;
                    must_be_one(DB::number(connection, give_back).await?)?;
                }
                MigrationsLock::Nothing => DB::migrate(connection, &to_run.unlocked()).await?,
            }
            Ok(())
        };
        Box::pin(work)
    });
    let Err(error) = run.await else {
        return Ok(());
    };
    // A failed run keeps its locks until its session ends.
    checkout.discard();
    let place = place_of::<DB>(settings, migrator, &error);
    Err(StartError::migrations(settings, place.as_deref(), &error).into())
}

fn must_be_one(answer: i64) -> sqlx::Result<()> {
    if answer == 1 {
        return Ok(());
    }
    let lost = "the server did not give the lock under which migrations run, or did not keep it";
    Err(sqlx::Error::Protocol(lost.to_owned()))
}

/// The file of the migration that failed, with the line when the server tells.
fn place_of<DB: Backend>(
    settings: &EngineSettings,
    migrator: &Migrator,
    error: &sqlx::Error,
) -> Option<String> {
    let sqlx::Error::Migrate(error) = error else {
        return None;
    };
    let MigrateError::ExecuteMigration(error, version) = error.as_ref() else {
        return None;
    };
    let migration = migrator.iter().find(|migration| {
        migration.version == *version && !migration.migration_type.is_down_migration()
    })?;
    let file = settings.migration_file(migration);
    Some(
        match backend::error_line::<DB>(error, migration.sql.as_str()) {
            Some(line) => format!("{file}, line {line}"),
            None => file,
        },
    )
}

fn report_start<DB: Backend>(
    pool: &Pool<DB>,
    connector: &Connector<DB>,
    server: Option<&Server>,
    begun: Instant,
) {
    // To write the line takes a test longer than to find out that nobody hears it. Asked for an event, because some
    // subscribers hear nothing else.
    if !tracing::event_enabled!(tracing::Level::INFO) {
        return;
    }
    let settings = &connector.settings;
    let (kind, version) = match server {
        Some(server) => (server.kind, server.version.as_str()),
        None => (connector.dialect().name, "(not asked yet)"),
    };
    let status = pool.status();
    let took = std::time::Duration::from_millis(
        u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
    let changed: Vec<String> = settings.changed().collect();
    tracing::info!(
        engine = %settings.engine,
        "engine `{}`: pool started on {kind} {version} in {}, {} of {} connections open; {}",
        settings.engine,
        humantime::format_duration(took),
        status.size,
        status.max,
        changed.join(", "),
    );
}
