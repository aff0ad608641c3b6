//! A proxy that changes what clients send.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::ensure;
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A proxy that replaces a text in the statements of its clients. Dropping it refuses new clients.
#[derive(Debug)]
pub struct Rewriting {
    address: SocketAddr,
    replaced: Arc<AtomicUsize>,
    listening: AbortHandle,
}

impl Rewriting {
    /// Starts the proxy on the caller's runtime. A statement that a client does not send at once is left as it is.
    ///
    /// # Errors
    /// When it cannot listen, or when `to` is longer than `from`: the messages keep their length.
    pub async fn before(upstream: SocketAddr, from: &str, to: &str) -> anyhow::Result<Self> {
        ensure!(to.len() <= from.len(), "{to} is longer than {from}");
        let to = format!("{to:width$}", width = from.len());
        let words: Arc<(String, String)> = Arc::new((from.to_owned(), to));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let replaced = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&replaced);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (words, count) = (Arc::clone(&words), Arc::clone(&count));
                // An error of a socket ends both, which is all that a client needs to know.
                tokio::spawn(async move { carry(client, upstream, &words, &count).await });
            }
        });
        Ok(Self {
            address,
            replaced,
            listening: listening.abort_handle(),
        })
    }

    /// The address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of replacements so far.
    pub fn replaced(&self) -> usize {
        self.replaced.load(Relaxed)
    }
}

impl Drop for Rewriting {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    upstream: SocketAddr,
    (from, to): &(String, String),
    replaced: &AtomicUsize,
) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asks = async {
        let mut sent = vec![0; 1 << 16];
        loop {
            let length = from_client.read(&mut sent).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            let sent = &mut sent[..length];
            let mut begin = 0;
            while let Some(found) = position(&sent[begin..], from.as_bytes()) {
                begin += found;
                sent[begin..begin + from.len()].copy_from_slice(to.as_bytes());
                replaced.fetch_add(1, Relaxed);
            }
            to_server.write_all(sent).await?;
        }
    };
    let answers = async {
        io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(asks, answers).map(drop)
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}
