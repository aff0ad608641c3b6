//! The SQLite library of this process.

use sqlx::{Connection, SqliteConnection};
use tokio::sync::OnceCell;

/// The version of the library and the source that it was built from, read once for the process. A file that another library has
/// written may differ from one of this library, as in what a function gave, and in defaults of the build.
pub(super) async fn version() -> sqlx::Result<&'static str> {
    static VERSION: OnceCell<String> = OnceCell::const_new();
    let version = VERSION.get_or_try_init(|| async {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
        // <https://www.sqlite.org/lang_corefunc.html#sqlite_source_id>
        let version = sqlx::query_scalar("SELECT sqlite_version() || ' ' || sqlite_source_id()")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(version)
    });
    version.await.map(String::as_str)
}
