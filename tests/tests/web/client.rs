//! A client for one request.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The parts of a response that the tests check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// A request that was sent. Dropping it closes the connection.
pub(crate) struct Sent(TcpStream);

/// Sends a request.
pub(crate) async fn send(address: SocketAddr, path: &str) -> anyhow::Result<Sent> {
    send_with(address, path, "").await
}

/// Sends a request with further lines in its head.
pub(crate) async fn send_with(
    address: SocketAddr,
    path: &str,
    lines: &str,
) -> anyhow::Result<Sent> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(Sent(stream))
}

impl Sent {
    /// Waits for the text of the response; empty when the server closes the connection without one.
    pub(crate) async fn text(mut self) -> String {
        let mut bytes = Vec::new();
        // A server that abandons the request may reset the connection.
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the response; `None` when the server closes the connection without one.
    pub(crate) async fn response(self) -> anyhow::Result<Option<Response>> {
        let text = self.text().await;
        if text.is_empty() {
            return Ok(None);
        }
        let (head, body) = text.split_once("\r\n\r\n").context("a head")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let retry_after = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
            .map(|(_, value)| value.to_owned());
        Ok(Some(Response {
            status: status.context("a status")?.parse()?,
            retry_after,
            body: body.to_owned(),
        }))
    }
}

/// Sends a request and waits for its response.
pub(crate) async fn post(address: SocketAddr, path: &str) -> anyhow::Result<Option<Response>> {
    send(address, path).await?.response().await
}
