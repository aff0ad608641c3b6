//! Every mode of the proxy, in front of an echo server.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::ensure;
use poolhouse_tests::{Proxy, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// More than an echo through a proxy takes on any machine.
const SILENCE: Duration = Duration::from_millis(200);

/// Starts a server that echoes every socket until it closes.
async fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut sockets = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            sockets.spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok(address)
}

async fn echoes(socket: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    socket.write_all(word).await?;
    let mut back = vec![0; word.len()];
    socket.read_exact(&mut back).await?;
    if back == word {
        Ok(())
    } else {
        Err(io::Error::other("another word"))
    }
}

/// A proxy in front of an echo server, and a working socket through it.
async fn begin() -> anyhow::Result<(Proxy, TcpStream)> {
    let proxy = Proxy::before(echo().await?)?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    echoes(&mut socket, b"first").await?;
    Ok((proxy, socket))
}

#[tokio::test]
async fn passes_bytes_and_ends() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    proxy.open_become(1).await?;
    let load = vec![7; 3_000_000];
    let (mut read, mut write) = socket.split();
    let send = async {
        write.write_all(&load).await?;
        write.shutdown().await
    };
    let mut back = Vec::new();
    let ((), length) = tokio::try_join!(send, read.read_to_end(&mut back))?;
    assert_eq!(
        length,
        load.len(),
        "the end of the sender's side is passed on, and nothing before it is lost"
    );
    proxy.open_become(0).await
}

#[tokio::test]
async fn delays_each_direction() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    let delay = Duration::from_millis(50);
    proxy.delay(delay);
    let start = Instant::now();
    echoes(&mut socket, b"late").await?;
    assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_stop_holds_back_and_loses_nothing() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    proxy.stop();
    assert!(
        timeout(SILENCE, echoes(&mut socket, b"held"))
            .await
            .is_err()
    );
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert!(timeout(SILENCE, echoes(&mut fresh, b"held")).await.is_err());

    proxy.pass();
    for socket in [&mut socket, &mut fresh] {
        let mut back = [0; 4];
        socket.read_exact(&mut back).await?;
        assert_eq!(&back, b"held");
    }
    Ok(())
}

#[tokio::test]
async fn a_black_hole_swallows_and_stays_open() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    let mut untouched = TcpStream::connect(proxy.address()).await?;
    echoes(&mut untouched, b"first").await?;
    proxy.black_hole();
    assert!(
        timeout(SILENCE, echoes(&mut socket, b"lost"))
            .await
            .is_err()
    );
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert!(timeout(SILENCE, echoes(&mut fresh, b"lost")).await.is_err());
    proxy.open_become(3).await?;

    proxy.pass();
    assert!(
        timeout(SILENCE, echoes(&mut socket, b"more"))
            .await
            .is_err(),
        "what has lost bytes stays silent"
    );
    echoes(&mut untouched, b"more").await?;

    let before = Instant::now();
    drop((socket, fresh));
    proxy.open_become(1).await?;
    let sockets = proxy.sockets();
    for closed in [sockets[0], sockets[2]] {
        assert!(
            closed.opened < before && closed.closed.is_some_and(|time| time >= before),
            "{closed:?}"
        );
    }
    assert!(sockets[1].closed.is_none());
    Ok(())
}

#[tokio::test]
async fn a_reset_is_seen_on_both_sides() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::before(listener.local_addr()?)?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    let (mut server, _) = listener.accept().await?;
    // A byte has gone through, so both sides are open.
    client.write_all(b"x").await?;
    server.read_exact(&mut [0]).await?;

    proxy.reset();
    for side in [&mut client, &mut server] {
        let error = side.read(&mut [0]).await.expect_err("an orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    proxy.open_become(0).await?;
    let again = TcpStream::connect(proxy.address()).await;
    assert!(again.is_ok(), "new sockets are carried");
    Ok(())
}

#[tokio::test]
async fn a_reset_by_one_side_reaches_the_other() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::before(listener.local_addr()?)?;
    let client = TcpStream::connect(proxy.address()).await?;
    let (mut server, _) = listener.accept().await?;
    client.set_zero_linger()?;
    drop(client);
    let error = server.read(&mut [0]).await.expect_err("an orderly end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    Ok(())
}

#[tokio::test]
async fn refuses_new_sockets_and_keeps_old_ones() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    proxy.refuse();
    eventually("a refusal", async || {
        match TcpStream::connect(proxy.address()).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await?;
    echoes(&mut socket, b"old").await?;
    proxy.pass();
    eventually("an accept", async || {
        Ok(TcpStream::connect(proxy.address()).await?)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_dropped_proxy_closes_every_socket() -> anyhow::Result<()> {
    let (proxy, mut socket) = begin().await?;
    proxy.black_hole();
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(socket.read(&mut [0]).await, Ok(0) | Err(_)));
    // A process that another thread was starting may have a copy of the listener, until it executes its program.
    eventually("a refusal", async || {
        ensure!(TcpStream::connect(address).await.is_err());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() -> anyhow::Result<()> {
    let proxy = Proxy::before(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)?;
    // The reset may arrive before the socket is connected.
    let read = async {
        TcpStream::connect(proxy.address())
            .await?
            .read(&mut [0])
            .await
    };
    let error = read.await.expect_err("an orderly end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    Ok(())
}
