//! One connection: a client's socket, one to the server, and the faults between them.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Conditions, Mode, Record};

/// The default size of a socket's own buffer.
const CHUNK: usize = 64 * 1024;

/// The number of chunks in transit in one direction before the sender has to wait.
const IN_FLIGHT: usize = 64;

/// Forwards one connection until both sides have closed it, or it is reset.
pub(super) async fn carry(
    mut client: TcpStream,
    address: SocketAddr,
    mut conditions: watch::Receiver<Conditions>,
    record: Record,
) {
    let resets = conditions.borrow().resets;
    let mut reset = conditions.clone();
    let mut upstream = None;
    let carried = tokio::select! {
        carried = connect_and_carry(&mut client, address, &mut upstream, &mut conditions, &record) => carried,
        _ = reset.wait_for(|conditions| conditions.resets != resets) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if carried.is_err() {
        // A socket without a linger time sends a reset when it is dropped. The call fails on a
        // closed one.
        let _ = client.set_zero_linger();
        if let Some(upstream) = upstream {
            let _ = upstream.set_zero_linger();
        }
    }
}

async fn connect_and_carry(
    client: &mut TcpStream,
    address: SocketAddr,
    upstream: &mut Option<TcpStream>,
    conditions: &mut watch::Receiver<Conditions>,
    record: &Record,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    if in_motion(conditions).await == Mode::BlackHole {
        swallow(client).await;
        record.close();
        return pending().await;
    }
    let upstream = upstream.insert(TcpStream::connect(address).await?);
    upstream.set_nodelay(true)?;

    let lost = AtomicBool::new(false);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = upstream.split();
    tokio::try_join!(
        pump(from_client, to_server, conditions.clone(), &lost, || record
            .close()),
        pump(from_server, to_client, conditions.clone(), &lost, || ()),
    )?;
    Ok(())
}

/// Data in transit in one direction.
enum Cargo {
    Bytes(Vec<u8>),
    /// The sender has closed its side.
    End,
    /// The sender's socket has failed.
    Reset(io::Error),
}

/// Forwards one direction to its end. Calls `ended` as soon as the sender has closed its side, in
/// every mode.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut conditions: watch::Receiver<Conditions>,
    lost: &AtomicBool,
    ended: impl FnOnce(),
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel(IN_FLIGHT);
    let current = conditions.clone();
    let read = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let cargo = match from.read(&mut buffer).await {
                Ok(0) => Cargo::End,
                Ok(length) => Cargo::Bytes(buffer[..length].to_vec()),
                Err(error) => Cargo::Reset(error),
            };
            let more = matches!(cargo, Cargo::Bytes(_));
            let due = Instant::now() + current.borrow().delay;
            if sender.send((due, cargo)).await.is_err() || !more {
                break;
            }
        }
        ended();
        drop(sender);
        Ok(())
    };
    let write = async {
        while let Some((due, cargo)) = receiver.recv().await {
            sleep_until(due).await;
            if in_motion(&mut conditions).await == Mode::BlackHole {
                lost.store(true, Ordering::Relaxed);
            }
            if lost.load(Ordering::Relaxed) {
                continue;
            }
            match cargo {
                Cargo::Bytes(bytes) => to.write_all(&bytes).await?,
                // An error is ignored, because the receiver may have closed its side too.
                Cargo::End => drop(to.shutdown().await),
                Cargo::Reset(error) => return Err(error),
            }
        }
        // In a black hole, a close of one side does not reach the other.
        if lost.load(Ordering::Relaxed) {
            pending().await
        } else {
            Ok(())
        }
    };
    tokio::try_join!(read, write).map(drop)
}

/// Waits until the mode is not `Stop`, and returns it.
async fn in_motion(conditions: &mut watch::Receiver<Conditions>) -> Mode {
    // Without an owner the proxy ends, and its runtime drops this future.
    conditions
        .wait_for(|conditions| conditions.mode != Mode::Stop)
        .await
        .map_or(Mode::End, |conditions| conditions.mode)
}

/// Reads and discards until the sender closes its side.
async fn swallow(socket: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while socket
        .read(&mut buffer)
        .await
        .is_ok_and(|length| length > 0)
    {}
}
