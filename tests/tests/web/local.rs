//! Requests of Rocket's local client, whose copies share the data that is stored with a request.

use anyhow::ensure;
use poolhouse::{Error, RequestTransaction, SqliteEngine};
use poolhouse_tests::CaseDatabase;
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{Build, Rocket, routes};
use sqlx::Sqlite;

use crate::act::run;
use crate::several::engine;

#[rocket::post("/add")]
async fn add(mut tx: RequestTransaction<Sqlite>) -> Result<Status, Error> {
    run(&mut tx, "INSERT INTO entry VALUES (NULL)".to_owned()).await?;
    Ok(Status::Created)
}

fn rocket() -> Rocket<Build> {
    let config = rocket::Config {
        log_level: rocket::config::LogLevel::Off,
        ..rocket::Config::debug_default()
    };
    rocket::custom(config).mount("/", routes![add])
}

async fn rows(case_database: &CaseDatabase) -> anyhow::Result<i64> {
    let sql = "SELECT count(*) FROM entry";
    case_database.answer::<Sqlite>(sql).await
}

#[tokio::test]
async fn a_guard_in_an_earlier_fairing_leaves_the_transactions_to_the_fairing() -> anyhow::Result<()>
{
    let Some((case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let looks = AdHoc::on_request("looks", |request, _| {
        Box::pin(async move {
            let found = request.guard::<SqliteEngine>().await;
            assert!(found.is_success());
        })
    });
    let rocket = rocket()
        .attach(looks)
        .attach(poolhouse::rocket::request_transactions());
    let client = Client::untracked(rocket).await?;
    let status = client.post("/add").dispatch().await.status();
    ensure!(status == Status::Created, "{status}");
    ensure!(rows(&case_database).await? == 1);
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn each_dispatch_of_a_cloned_request_has_transactions_of_its_own() -> anyhow::Result<()> {
    let Some((case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let rocket = rocket().attach(poolhouse::rocket::request_transactions());
    let client = Client::untracked(rocket).await?;
    let request = client.post("/add");
    for expected in 1..=3 {
        let status = request.clone().dispatch().await.status();
        ensure!(status == Status::Created, "{status}");
        ensure!(rows(&case_database).await? == expected);
    }
    drop(request);
    db.close_connection_pool().await;
    Ok(())
}
