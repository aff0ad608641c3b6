//! The part of MariaDB's protocol that is needed: <https://mariadb.com/kb/en/0-packet/>.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use super::Plan;

const QUERY: u8 = 3;

/// A packet: its number in the exchange, and its content.
struct Packet {
    number: u8,
    content: Vec<u8>,
}

impl Packet {
    async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Self> {
        let mut header = [0; 4];
        from.read_exact(&mut header).await?;
        let [a, b, c, number] = header;
        let length = u32::from_le_bytes([a, b, c, 0]);
        let mut content = vec![0; length as usize];
        from.read_exact(&mut content).await?;
        Ok(Self { number, content })
    }

    async fn write(&self, to: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.content.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes()[..3].to_vec();
        bytes.push(self.number);
        bytes.extend(&self.content);
        to.write_all(&bytes).await
    }
}

pub(super) async fn link(
    client: TcpStream,
    upstream: SocketAddr,
    plan: Arc<Plan>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The answers to discard: each is one packet, after which the sender of the statement continues.
    let (swallow, mut to_swallow) = mpsc::unbounded_channel::<oneshot::Sender<()>>();

    let commands = async {
        loop {
            let packet = Packet::read(&mut from_client).await?;
            // The first packet of an exchange that the client begins. During the login, the server begins the exchange.
            if packet.number == 0 {
                for statement in plan.command().into_iter().flatten() {
                    let (swallowed, done) = oneshot::channel();
                    let _ = swallow.send(swallowed);
                    let content = [&[QUERY], statement.as_bytes()].concat();
                    Packet { number: 0, content }.write(&mut to_server).await?;
                    let _ = done.await;
                }
            }
            packet.write(&mut to_server).await?;
        }
    };
    let answers = async {
        loop {
            let packet = Packet::read(&mut from_server).await?;
            match to_swallow.try_recv() {
                Ok(swallowed) => drop(swallowed.send(())),
                Err(_) => packet.write(&mut to_client).await?,
            }
        }
    };
    tokio::select! {
        ended = commands => ended,
        ended = answers => ended,
    }
}
