//! Each service over a real socket: successful answers are committed, and others are rolled back.

use std::net::SocketAddr;

use poolhouse::{SqliteEngine, with_pool};
use poolhouse_frameworks::{on_poem, on_salvo, on_tonic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn tables(db: &SqliteEngine) -> sqlx::Result<()> {
    sqlx::raw_sql("CREATE TABLE band (name TEXT UNIQUE)")
        .execute(db)
        .await
        .map(drop)
}

async fn names(db: &SqliteEngine) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT name FROM band ORDER BY name")
        .fetch_all(db)
        .await
}

async fn post(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

async fn statuses(db: &SqliteEngine, address: SocketAddr) -> anyhow::Result<()> {
    for (name, status) in [("a", "201"), ("b", "404"), ("c", "303"), ("d", "500")] {
        let answer = post(address, &format!("/bands/{name}/{status}")).await?;
        anyhow::ensure!(answer == status, "{name}: {answer}");
    }
    // A statement that fails.
    anyhow::ensure!(post(address, "/bands/a/200").await? == "500");
    anyhow::ensure!(names(db).await? == ["a", "c"], "{:?}", names(db).await?);
    Ok(())
}

#[with_pool]
#[tokio::test]
async fn poem_keeps_what_a_good_answer_has_written(db: SqliteEngine) -> anyhow::Result<()> {
    use poem::listener::{Acceptor, Listener};

    tables(&db).await?;
    let acceptor = poem::listener::TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await?;
    let address = *acceptor.local_addr()[0]
        .as_socket_addr()
        .ok_or_else(|| anyhow::anyhow!("no address"))?;
    let server = poem::Server::new_with_acceptor(acceptor).run(on_poem::app());
    let server = tokio::spawn(server);
    statuses(&db, address).await?;
    server.abort();
    Ok(())
}

#[with_pool]
#[tokio::test]
async fn salvo_keeps_what_a_good_answer_has_written(db: SqliteEngine) -> anyhow::Result<()> {
    use salvo::Listener;

    tables(&db).await?;
    let acceptor = salvo::conn::TcpListener::new("127.0.0.1:0").bind().await;
    let address = acceptor.local_addr()?;
    let server = tokio::spawn(salvo::Server::new(acceptor).serve(on_salvo::app()));
    statuses(&db, address).await?;
    server.abort();
    Ok(())
}

#[with_pool]
#[tokio::test]
async fn tonic_keeps_what_a_good_answer_has_written(db: SqliteEngine) -> anyhow::Result<()> {
    use on_tonic::{Band, Bands, BandsClient, BandsServer};

    tables(&db).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .layer(poolhouse::axum::request_transactions())
        .add_service(BandsServer::new(Bands))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
    let mut client = BandsClient::new(channel.connect().await?);
    for (name, code) in [("a", 0), ("b", 5), ("c", 0), ("d", 13)] {
        let name = name.to_owned();
        let answer = client.add(Band { name, code }).await;
        let answered = answer.err().map_or(0, |status| i32::from(status.code()));
        anyhow::ensure!(answered == code, "{answered} for {code}");
    }
    anyhow::ensure!(names(&db).await? == ["a", "c"]);
    server.abort();
    Ok(())
}
