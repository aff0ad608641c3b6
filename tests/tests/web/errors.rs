//! Errors of actix-web's middleware, which actix-web turns into responses of any status.

use actix_web::dev::{Service, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::post;
use actix_web::{App, HttpResponse};
use anyhow::{bail, ensure};
use poolhouse::{Error, RequestTransaction};
use sqlx::Sqlite;

use crate::act::run;
use crate::several::engine;

async fn add(mut tx: RequestTransaction<Sqlite>, sql: String) -> Result<HttpResponse, Error> {
    run(&mut tx, sql).await?;
    Ok(HttpResponse::Created().finish())
}

/// The status of the error that is returned when a middleware inside returns one with this status.
async fn status(inner: StatusCode, sql: &'static str) -> anyhow::Result<StatusCode> {
    let app = App::new()
        .route("/add", post().to(add))
        .wrap_fn(move |request, service| {
            let response = service.call(request);
            async move {
                response.await?;
                let answer = HttpResponse::build(inner).finish();
                let error = InternalError::from_response("on purpose", answer);
                Err::<ServiceResponse, actix_web::Error>(error.into())
            }
        })
        .wrap(poolhouse::actix_web::request_transactions());
    let app = init_service(app).await;
    let request = TestRequest::post().uri("/add").set_payload(sql);
    match app.call(request.to_request()).await {
        Ok(response) => bail!("no error: {}", response.status()),
        Err(error) => Ok(error.as_response_error().status_code()),
    }
}

#[actix_web::test]
async fn the_status_of_an_error_decides_and_a_failed_commit_replaces_it() -> anyhow::Result<()> {
    let Some((case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let insert = "INSERT INTO entry VALUES (NULL)";
    let rows = async || {
        let sql = "SELECT count(*) FROM entry";
        case_database.answer::<Sqlite>(sql).await
    };
    let answered = status(StatusCode::SEE_OTHER, insert).await?;
    ensure!(answered == StatusCode::SEE_OTHER, "{answered}");
    ensure!(rows().await? == 1, "committed");
    let answered = status(StatusCode::NOT_FOUND, insert).await?;
    ensure!(answered == StatusCode::NOT_FOUND, "{answered}");
    ensure!(rows().await? == 1, "rolled back");
    let refused = "INSERT INTO child VALUES (1)";
    let answered = status(StatusCode::SEE_OTHER, refused).await?;
    ensure!(answered == StatusCode::INTERNAL_SERVER_ERROR, "{answered}");
    db.close_connection_pool().await;
    Ok(())
}
