//! 7: SIGTERM in the middle of HTTP load on a graceful server.
//!
//! HTTP/1.1 lets a server close a connection between two requests. A request that the client has just written gets no answer
//! then (<https://www.rfc-editor.org/rfc/rfc9112#section-9.6>), and was not accepted. So each request here inserts a name of
//! its own. Afterwards the database shows which requests were accepted: exactly those have an answer.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use poolhouse_tests::{CaseDatabase, Program, Sql, program::Signal};
use tokio::{net::TcpStream, sync::Semaphore};

use crate::variant::code;

const CONNECTIONS: u32 = 64;

/// The answers that every client gets before the signal.
const WARM: usize = 10;

/// The most rounds until a request is in progress at the signal.
const ROUNDS: usize = 10;

pub(super) async fn sigterm_under_load<DB: Sql>() -> anyhow::Result<()> {
    for flavor in ["multi_thread", "current_thread"] {
        let mut rounds = 0;
        loop {
            let Some(case_database) = CaseDatabase::of::<DB>(flavor).await? else {
                return Ok(());
            };
            if on::<DB>(flavor, &case_database).await.context(flavor)? > 0 {
                break;
            }
            // All checks passed, but no request was in progress at the signal. This happens on a busy machine.
            rounds += 1;
            ensure!(
                rounds < ROUNDS,
                "no request was ever under way at the signal"
            );
        }
    }
    Ok(())
}

/// Ends one service under load, and returns the number of requests in progress at the signal.
async fn on<DB: Sql>(flavor: &str, case_database: &CaseDatabase) -> anyhow::Result<usize> {
    let mut service = Program::example("axum_service")?
        .variable("DATABASE_URL", case_database.url())
        .variable("POOLHOUSE_FLAVOR", flavor)
        .variable("PORT", "0")
        .start()?;
    let line = service.line("listening on http://").await?;
    let address = line.rsplit('/').next().context("an address")?.parse()?;

    let warm = Arc::new(Semaphore::new(0));
    let clients = (0..CONNECTIONS).map(|number| client(number, address, Arc::clone(&warm)));
    let mut clients = tokio::spawn(try_join_all(clients));
    tokio::select! {
        all = warm.acquire_many(CONNECTIONS) => drop(all?),
        ended = &mut clients => {
            ended??;
            bail!("the service closed every connection before the signal");
        }
    }
    service.signal(Signal::SIGTERM)?;
    let clients = clients.await??;
    code(&service.end().await?, 0)?;
    // This must come before the test's own sessions in the database.
    case_database.closed_in_good_order().await?;

    let in_the_middle = clients
        .iter()
        .filter(|client| client.asked_to_close)
        .count();
    let answered: Vec<&str> = clients.iter().flat_map(Client::names).collect();
    let accepted = case_database
        .answer::<DB>("SELECT count(*) FROM band")
        .await?;
    let both = format!(
        "SELECT count(*) FROM band WHERE name IN ('{}')",
        answered.join("', '")
    );
    let both = case_database.answer::<DB>(&both).await?;
    ensure!(
        [accepted, both] == [i64::try_from(answered.len())?; 2],
        "{accepted} requests were accepted and {} answered, {both} of them both",
        answered.len()
    );
    Ok(in_the_middle)
}

/// The answers to one client.
#[derive(Default)]
struct Client {
    answered: Vec<String>,
    /// Whether the last answer closed the connection, as answers after the signal do.
    asked_to_close: bool,
}

impl Client {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.answered.iter().map(String::as_str)
    }
}

/// Adds one band after the other on one connection, until the server closes it.
async fn client(number: u32, address: SocketAddr, warm: Arc<Semaphore>) -> anyhow::Result<Client> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut client = Client::default();
    while !client.asked_to_close && sender.ready().await.is_ok() {
        let name = format!("{number}.{}", client.answered.len());
        let band = format!(r#"{{"name":"{name}","founded":2015}}"#);
        let request = Request::post("/bands")
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(band.clone())))?;
        let Ok(answer) = sender.send_request(request).await else {
            break;
        };
        client.asked_to_close = answer
            .headers()
            .get(CONNECTION)
            .is_some_and(|value| value == "close");
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status == StatusCode::CREATED && body == band,
            "{status} {body:?}"
        );
        client.answered.push(name);
        if client.answered.len() == WARM {
            warm.add_permits(1);
        }
    }
    ensure!(
        client.answered.len() >= WARM,
        "the service closed a connection after {} answers",
        client.answered.len()
    );
    // The task ends by itself, with an error if the server closed the connection during a request.
    let _ = connection.await?;
    Ok(client)
}
