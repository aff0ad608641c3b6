//! Finds and builds a template.

use sqlx::Connection;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnection, Postgres};

use super::baseline::Baseline;
use super::names;
use crate::dialect::message;
use crate::error::{Error, TestError, TestKind};
use crate::testing::recipe::Recipe;
use crate::testing::retention::today;
use crate::testing::server::{Identity, Kind, ServerSession, execute};
use crate::testing::url;

/// How often a database is created anew because a killed builder's was in the way.
const CREATIONS: u32 = 5;

/// The template's content, if the template exists, is complete and was not changed by a crash.
pub(super) async fn find(
    connection: &mut PgConnection,
    fingerprint: &str,
    identity: &Identity,
) -> sqlx::Result<Option<Baseline>> {
    let name = names::template(fingerprint);
    let comment: Option<Option<String>> = sqlx::query_scalar(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1 AND datconnlimit <> -2",
    )
    .bind(&name)
    .fetch_optional(&mut *connection)
    .await?;
    let comment = comment.flatten().unwrap_or_default();
    let Some((incarnation, baseline)) = read(&comment) else {
        return Ok(None);
    };
    if baseline.is_volatile() && incarnation != identity.incarnation {
        return Ok(None);
    }
    if day(&comment) != Some(today()) {
        // Several processes may write the comment at the same time, and all write the same.
        let _ = note(connection, &name, incarnation, &baseline).await;
    }
    Ok(Some(baseline))
}

/// Builds the template.
pub(super) async fn build<K: Kind<DB = Postgres>>(
    session: &ServerSession<K>,
    recipe: &Recipe,
    fingerprint: &str,
) -> Result<Baseline, Error> {
    let building = names::building(fingerprint);
    let template = names::template(fingerprint);
    let mut worker = session.worker().await?;
    // Only a template that `find` refuses is dropped. It allows no connections, so that no session is in it.
    execute(&mut worker, format!("DROP DATABASE IF EXISTS {template}")).await?;
    let mut tries = 0;
    loop {
        // The remains of a killed builder.
        session.drop_only(&building).await?;
        match execute(&mut worker, format!("CREATE DATABASE {building}")).await {
            Ok(()) => break,
            // The server may carry a statement of a killed builder to its end, and only then notice that nobody waits for it.
            Err(error) if is_duplicate(&error) && tries < CREATIONS => tries += 1,
            Err(error) => return Err(not_created(session, recipe, &error).await),
        }
    }
    let completed = async {
        let filled = url::of_database(&recipe.settings, &building)?;
        recipe.fill(filled).await?;
        let mut connection = session.connect(&building).await?;
        let baseline = Baseline::measure(&mut connection).await?;
        connection.close().await?;
        if !session.until_quiet(&building).await? {
            let what = "a session stays in the database of which a template is made";
            let cure = "End it, or let no other program connect to databases of tests";
            return Err(TestError::new(&recipe.settings, TestKind::NotMade, what, cure).into());
        }
        // A template needs no connections, and a session in it would block cloning.
        let close = format!("ALTER DATABASE {building} ALLOW_CONNECTIONS false");
        execute(&mut worker, close).await?;
        let incarnation = session.identity().await?.incarnation;
        note(&mut worker, &building, &incarnation, &baseline).await?;
        session.still_makes(fingerprint).await?;
        let complete = format!("ALTER DATABASE {building} RENAME TO {template}");
        execute(&mut worker, complete).await?;
        Ok(baseline)
    };
    let completed = completed.await;
    if completed.is_ok() {
        session.put_back(worker).await;
    } else {
        session.drop_unmade(fingerprint, &building).await;
    }
    completed
}

/// Whether a database of the same name exists, or was created by another session at the same moment.
fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("42P04" | "23505"))
}

/// Why a database was not created, and what to do.
pub(super) async fn not_created<K: Kind<DB = Postgres>>(
    session: &ServerSession<K>,
    recipe: &Recipe,
    error: &sqlx::Error,
) -> Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let what = format!("the template cannot be made or cloned: {}", message(error));
    let missing = match code.as_deref() {
        Some("42501") => may_not_create(session).await.unwrap_or_default(),
        _ => None,
    };
    let (kind, what, cure) = match (code.as_deref(), missing) {
        (_, Some(user)) => (
            TestKind::MissingRight,
            format!("the role {user} may not create databases"),
            format!("Grant it with ALTER ROLE {user} CREATEDB; or write isolation = \"none\""),
        ),
        (Some("53100"), _) => (
            TestKind::NotMade,
            what,
            "Make room on the server's disk".to_owned(),
        ),
        _ => (
            TestKind::NotMade,
            what,
            "See the server's message and its log".to_owned(),
        ),
    };
    TestError::new(&recipe.settings, kind, what, cure).into()
}

/// The role, if it may not create databases. The server also refuses to copy a database of another role, with the same code and
/// a message in its own language.
async fn may_not_create<K: Kind<DB = Postgres>>(
    session: &ServerSession<K>,
) -> Result<Option<String>, Error> {
    let ask = "SELECT quote_ident(rolname) FROM pg_roles \
        WHERE rolname = current_user AND NOT rolcreatedb AND NOT rolsuper";
    let mut session = session.take().await?;
    let asked = sqlx::query_scalar(ask)
        .fetch_optional(session.connection())
        .await;
    Ok(session.seen(asked)?)
}

/// Writes the day, the incarnation and the baseline into a template's comment.
async fn note(
    connection: &mut PgConnection,
    name: &str,
    incarnation: &str,
    baseline: &Baseline,
) -> sqlx::Result<()> {
    let text = format!("{}\n{incarnation}\n{}", today(), baseline.to_text());
    let text = text.replace('\'', "''").replace('\\', "\\\\");
    execute(
        connection,
        format!("COMMENT ON DATABASE {name} IS E'{text}'"),
    )
    .await
}

/// Reads the day of a template's last use from its comment.
pub(super) fn day(comment: &str) -> Option<u64> {
    comment.split_once('\n')?.0.parse().ok()
}

fn read(comment: &str) -> Option<(&str, Baseline)> {
    let (_, rest) = comment.split_once('\n')?;
    let (incarnation, baseline) = rest.split_once('\n')?;
    Some((incarnation, Baseline::from_text(baseline)?))
}
