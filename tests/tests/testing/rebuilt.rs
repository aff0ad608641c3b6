//! A template on MariaDB that another process makes anew, while a process has read the earlier one.

use std::fs::File;

use poolhouse::{MySqlEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, eventually};

use crate::minimal::{said, started};
use crate::restarts::{ask, run_of};
use crate::scenarios::{COUNT, FATE, meet_fate};

/// Tests that have the rows of the template, and wait for their driver before they look.
macro_rules! have_its_rows {
    ($($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_MYSQL_URL", fixtures("bands"))]
        #[tokio::test]
        async fn $name(db: MySqlEngine) {
            let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
            assert_eq!(rows, 2, "the rows of an unfinished template");
            meet_fate().await;
        }
    )*};
}

mod bands {
    use super::*;

    have_its_rows!(one two three);
}

#[tokio::test]
async fn no_test_has_a_copy_of_an_unfinished_template() {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return;
    };
    let server = started(builder).await;
    let folder = tempfile::tempdir().unwrap();
    let mut run = run_of(&server, "rebuilt::bands::", 1);
    run.env(FATE, format!("pause {}", folder.path().display()));
    let run = run.spawn().unwrap();
    let spare =
        "SELECT database_name FROM poolhouse_marks.complete WHERE database_name LIKE '%\\_db\\_%'";
    let mut spares = Vec::new();
    eventually(
        "the first test has begun, and a spare clone is made",
        async || {
            anyhow::ensure!(folder.path().join("begun").exists());
            spares = server.ask(&[spare.to_owned()]).await?;
            anyhow::ensure!(!spares.is_empty());
            Ok(())
        },
    )
    .await
    .unwrap();
    let marked = "SELECT database_name FROM poolhouse_marks.complete WHERE database_name LIKE '%\\_template'";
    let template = ask(&server, marked).await.remove(0);
    // As another process does that has removed the template, and makes it anew.
    ask(&server, "DELETE FROM poolhouse_marks.complete").await;
    ask(&server, &format!("DELETE FROM {template}.band")).await;
    for name in spares.into_iter().flatten().flatten() {
        ask(&server, &format!("DROP DATABASE {name}")).await;
    }
    File::create(folder.path().join("go_on")).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = said(&output);
    assert!(
        !said.contains("the rows of an unfinished template"),
        "{said}"
    );
    let changed = "the template was removed or made anew while it was copied";
    assert!(said.contains(changed), "{said}");
    assert!(said.contains("2 passed; 1 failed"), "{said}");
}
