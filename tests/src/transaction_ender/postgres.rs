//! The part of Postgres' protocol that is needed: <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use super::Plan;
use crate::cockroach::wire::{self, Message};

/// A request for encryption, which is refused.
const ENCRYPTION: [u8; 4] = 80_877_103_u32.to_be_bytes();

pub(super) async fn link(
    mut client: TcpStream,
    upstream: SocketAddr,
    plan: Arc<Plan>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let startup = loop {
        let body = wire::read_body(&mut client).await?;
        if body != ENCRYPTION {
            break body;
        }
        client.write_all(b"N").await?;
    };
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    server.write_all(&wire::length(&startup)).await?;
    server.write_all(&startup).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The answers to discard, up to the server's `ReadyForQuery`.
    let (swallow, mut to_swallow) = mpsc::unbounded_channel::<oneshot::Sender<()>>();

    let commands = async {
        let mut begins = true;
        while let Some(message) = Message::read(&mut from_client).await? {
            // Passwords and the end of the connection do not count as commands.
            if begins && !matches!(message.kind, b'p' | b'X') {
                for statement in plan.command().into_iter().flatten() {
                    let (swallowed, done) = oneshot::channel();
                    let _ = swallow.send(swallowed);
                    let query = Message::new(b'Q', wire::text(statement));
                    to_server.write_all(&query.bytes()).await?;
                    let _ = done.await;
                }
            }
            begins = matches!(message.kind, b'Q' | b'S' | b'p');
            to_server.write_all(&message.bytes()).await?;
        }
        Ok(())
    };
    let answers = async {
        let mut swallowing = None;
        while let Some(message) = Message::read(&mut from_server).await? {
            if swallowing.is_none() {
                swallowing = to_swallow.try_recv().ok();
            }
            if swallowing.is_none() {
                to_client.write_all(&message.bytes()).await?;
            } else if message.kind == b'Z'
                && let Some(swallowed) = swallowing.take()
            {
                let _ = swallowed.send(());
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = commands => ended,
        ended = answers => ended,
    }
}
