//! Checks for common faults of an engine, by queries to its server.

use std::time::Duration;

use sqlx::migrate::Migrator;

use super::report::{EngineReport, MigrationState, MigrationsReport};
use crate::backend::Backend;
use crate::dialect::{How, Idle, Room, message};
use crate::pool::{CheckedOut, Connector};
use crate::settings::{EngineSettings, conceal};

/// Checks for a pooler, for room on the server, and for timeouts of the server's sessions.
pub(super) async fn inspect<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    settings: &EngineSettings,
    report: &mut EngineReport,
) {
    if settings.pooler.is_some() {
        // The server reports the pooler's sessions.
        return;
    }
    if let Some(sign) = connector.dialect().pooler_sign {
        // The answer of a new session, if there is one: `session` may have set what the sign is.
        let found = match connector.undeclared_pooler() {
            Some(is_there) => Ok(i64::from(is_there)),
            None => number(checkout, sign).await,
        };
        match found {
            Ok(0) => {}
            Ok(_) => {
                report.problem(format!(
                    "a pooler seems to stand between here and the server, and `pooler` is not set. In transaction mode, \
                     statements meet sessions where they are not prepared. Set pooler = \"pgbouncer\". {}",
                    settings.describe("url")
                ));
                return;
            }
            Err(error) => report.warning(not_known(settings, "whether there is a pooler", &error)),
        }
    }
    if let Some(room) = connector.dialect().inspection.room {
        match text(checkout, room).await {
            Ok(answer) => {
                if let Some(room) = Room::read(&answer) {
                    look_for_room(room, settings, report);
                }
            }
            Err(error) => report.warning(not_known(settings, "the room on the server", &error)),
        }
    }
    for timeout in connector.dialect().inspection.timeouts {
        let (setting, ours) = match timeout.of {
            Idle::Outside => ("idle_timeout", settings.idle_timeout),
            Idle::InTransaction => ("leak_after", settings.leak_after),
        };
        let theirs = match number(checkout, timeout.query).await {
            Ok(theirs) => Duration::from_millis(u64::try_from(theirs).unwrap_or_default()),
            Err(error) => {
                report.warning(not_known(settings, timeout.name, &error));
                continue;
            }
        };
        let is_later = match timeout.of {
            // Without `idle_timeout`, the server's timeout comes first.
            Idle::Outside => ours.is_none_or(|ours| ours >= theirs),
            Idle::InTransaction => ours.is_some_and(|ours| ours >= theirs),
        };
        if !theirs.is_zero() && is_later {
            let consequence = match timeout.of {
                Idle::Outside => "The server ends connections that the pool takes for good",
                Idle::InTransaction => {
                    "The server ends a forgotten transaction before the log names who holds it"
                }
            };
            report.warning(format!(
                "the server's {} is {}, and {}. {consequence}. Set {setting} below it",
                timeout.name,
                humantime::format_duration(theirs),
                settings.describe(setting),
            ));
        }
    }
}

/// Checks whether this and every other instance of the program find room at the same time.
fn look_for_room(room: Room, settings: &EngineSettings, report: &mut EngineReport) {
    let size = u64::from(settings.max_size);
    // The pool of an instance grows to its whole size. Several instances may share an address.
    let others = room.ours.div_ceil(size).max(room.addresses);
    // The sessions of other programs, which are there at this moment only.
    let free = room.server.map(|limit| limit.saturating_sub(room.others));
    let limits = [
        (
            room.server,
            "the server has room for",
            "raise max_connections on the server",
        ),
        (
            room.database,
            "the database may have",
            "raise the database's CONNECTION LIMIT",
        ),
        (
            room.user,
            "the user may have",
            "raise the user's limit of connections",
        ),
    ];
    let tightest = |limits: [(Option<u64>, &'static str, &'static str); 3]| {
        let limits = limits.into_iter();
        let known = limits.filter_map(|(limit, what, cure)| Some((limit?, what, cure)));
        known.min_by_key(|(limit, ..)| *limit)
    };
    let max_size = settings.describe("max_size");
    if let Some((limit, what, cure)) = tightest(limits)
        && size > limit
    {
        report.problem(format!(
            "{max_size} can never be reached: {what} {limit} connections. Lower max_size, or {cure}"
        ));
        return;
    }
    let [(_, _, cure), database, user] = limits;
    let now = [
        (
            free,
            "beside the sessions of others, the server has room for",
            cure,
        ),
        database,
        user,
    ];
    let Some((limit, what, cure)) = tightest(now) else {
        return;
    };
    if size > limit {
        report.warning(format!(
            "{max_size} cannot be reached now: {what} {limit} connections. Lower max_size, or {cure}"
        ));
    } else if size.saturating_mul(others + 1) > limit {
        let noun = if others == 1 { "instance" } else { "instances" };
        report.warning(format!(
            "{what} {limit} connections, and {others} {noun} of `{}` with {} sessions are there already: with this one, they \
             may want {}. {max_size}. Lower max_size, or {cure}",
            conceal(settings.application_name.as_deref().unwrap_or("this program")),
            room.ours,
            size.saturating_mul(others + 1),
        ));
    }
}

/// Checks whether the user may run the pending migrations.
pub(super) async fn rights<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
    migrations: &MigrationsReport,
    report: &mut EngineReport,
) {
    let pending = migrations.count(MigrationState::Pending);
    if pending == 0 {
        return;
    }
    let settings = &connector.settings;
    let rights = &connector.dialect().inspection.rights;
    let missing = match rights.how {
        How::Asked(query) => {
            let query = query(&migrator.table_name, !migrator.create_schemas.is_empty());
            checkout
                .run(|connection, _| DB::text_of(connection, query))
                .await
        }
        How::Tried(statements) => {
            let tried =
                checkout.run(|connection, _| DB::execute(connection, sqlx::raw_sql(statements)));
            match tried.await {
                Ok(_) => Ok(String::new()),
                Err(error) => Ok(message(&error)),
            }
        }
    };
    match missing {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => {
            let noun = if pending == 1 {
                "migration"
            } else {
                "migrations"
            };
            report.problem(format!(
                "{pending} pending {noun} cannot be run: {}. {}. {}",
                without_secrets(settings, &missing),
                rights.cure,
                settings.describe("url"),
            ));
        }
        Err(error) => report.warning(not_known(settings, "the rights for migrations", &error)),
    }
}

async fn number<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    query: &'static str,
) -> sqlx::Result<i64> {
    checkout
        .run(|connection, _| DB::number(connection, query))
        .await
}

async fn text<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    query: &'static str,
) -> sqlx::Result<String> {
    checkout
        .run(|connection, _| DB::text(connection, query))
        .await
}

fn not_known(settings: &EngineSettings, what: &str, error: &sqlx::Error) -> String {
    format!(
        "could not find out {what}: {}",
        without_secrets(settings, &message(error))
    )
}

/// A text of the server, without the secrets that the settings know.
fn without_secrets(settings: &EngineSettings, text: &str) -> String {
    settings
        .without_secrets(text)
        .unwrap_or_else(|| text.to_owned())
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::super::report::{EngineReport, Severity};
    use super::{Room, look_for_room};
    use crate::settings::{EngineSettings, Layers, Settings, Sources};

    #[test]
    fn only_a_limit_that_stays_is_a_problem() {
        let settings = Settings::new()
            .engine("room")
            .url("sqlite:room.db")
            .max_size(40);
        let sources = Sources::of_process().unwrap();
        let layers = Layers::collect(&settings, &sources, None).unwrap();
        let settings = EngineSettings::read(&layers, None).unwrap();
        let found = |server, others| {
            let room = Room {
                server: Some(server),
                database: None,
                user: None,
                others,
                ours: 0,
                addresses: 0,
            };
            let mut report = EngineReport::new(&settings);
            look_for_room(room, &settings, &mut report);
            let found = report.findings.into_iter();
            found
                .map(|finding| (finding.level, finding.text.contains("never")))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(97, 57), []);
        assert_eq!(found(97, 58), [(Severity::Warning, false)]);
        assert_eq!(found(39, 0), [(Severity::Problem, true)]);
    }
}
