//! The builder of the runtime: poolhouse, or an attribute below `#[with_pool]`.

use super::answer;

mod own {
    use std::rc::Rc;

    use poolhouse::{SqliteEngine, with_pool};
    use tokio::runtime::{Handle, RuntimeFlavor};

    #[with_pool(
        engine = "own",
        url = "sqlite::memory:",
        signals = false,
        flavor = "current_thread"
    )]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        assert_eq!(
            Handle::current().runtime_flavor(),
            RuntimeFlavor::CurrentThread
        );
        // An `Rc` is not `Send`.
        let local = Rc::new(db);
        let answer = super::answer(&local).await?;
        drop(local);
        Ok(answer)
    }
}

mod own_with_threads {
    use poolhouse::{SqliteEngine, with_pool};
    use tokio::runtime::Handle;

    #[with_pool(
        engine = "own_with_threads",
        url = "sqlite::memory:",
        signals = false,
        worker_threads = 3
    )]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        assert_eq!(Handle::current().metrics().num_workers(), 3);
        Ok(super::answer(&db).await?)
    }
}

mod of_tokio {
    use poolhouse::{SqliteEngine, with_pool};
    use tokio::runtime::Handle;

    #[with_pool(engine = "of_tokio", url = "sqlite::memory:", signals = false)]
    #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        assert_eq!(Handle::current().metrics().num_workers(), 2);
        Ok(super::answer(&db).await?)
    }
}

mod of_tokio_by_condition {
    use std::rc::Rc;

    use poolhouse::{SqliteEngine, with_pool};

    #[with_pool(
        engine = "of_tokio_by_condition",
        url = "sqlite::memory:",
        signals = false
    )]
    #[cfg_attr(all(), tokio::main(flavor = "current_thread"))]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        let local = Rc::new(db);
        Ok(super::answer(&local).await?)
    }
}

mod of_actix {
    use std::rc::Rc;

    use actix_web::web::{Data, get};
    use actix_web::{App, test};
    use poolhouse::{SqliteEngine, with_pool};

    async fn index(db: Data<SqliteEngine>) -> actix_web::Result<String> {
        let answer = super::answer(&db).await;
        answer
            .map(|answer| answer.to_string())
            .map_err(actix_web::error::ErrorInternalServerError)
    }

    #[with_pool(engine = "of_actix", url = "sqlite::memory:", signals = false)]
    #[actix_web::main]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        // actix-web's handlers never leave their thread.
        let local = Rc::new(db.clone());
        let task = actix_web::rt::spawn(async move { super::answer(&local).await });
        task.await??;
        let app = App::new()
            .app_data(Data::new(db))
            .route("/", get().to(index));
        let app = test::init_service(app).await;
        let answer = test::call_and_read_body(&app, test::TestRequest::get().to_request()).await;
        Ok(std::str::from_utf8(&answer)?.parse()?)
    }
}

mod of_rocket {
    use anyhow::Context;
    use poolhouse::{SqliteEngine, with_pool};
    use rocket::State;
    use rocket::local::asynchronous::Client;

    #[rocket::get("/")]
    async fn index(db: &State<SqliteEngine>) -> Option<String> {
        Some(super::answer(db).await.ok()?.to_string())
    }

    #[with_pool(engine = "of_rocket", url = "sqlite::memory:", signals = false)]
    #[rocket::main]
    pub(super) async fn main(db: SqliteEngine) -> anyhow::Result<i64> {
        let quiet = rocket::Config {
            log_level: rocket::config::LogLevel::Off,
            ..rocket::Config::default()
        };
        let rocket = rocket::custom(quiet)
            .manage(db)
            .mount("/", rocket::routes![index]);
        let client = Client::untracked(rocket).await?;
        let answer = client.get("/").dispatch().await.into_string().await;
        Ok(answer.context("no answer")?.parse()?)
    }
}

#[test]
fn poolhouse_builds_the_runtime() -> anyhow::Result<()> {
    assert_eq!(own::main()?, 42);
    assert_eq!(own_with_threads::main()?, 42);
    Ok(())
}

#[test]
fn tokio_main_with_arguments() -> anyhow::Result<()> {
    assert_eq!(of_tokio::main()?, 42);
    assert_eq!(of_tokio_by_condition::main()?, 42);
    Ok(())
}

#[test]
fn actix_web_main() -> anyhow::Result<()> {
    assert_eq!(of_actix::main()?, 42);
    Ok(())
}

#[test]
fn rocket_main() -> anyhow::Result<()> {
    assert_eq!(of_rocket::main()?, 42);
    Ok(())
}
