//! A client for single requests, over HTTP/1.1 or gRPC.

use std::net::SocketAddr;

use anyhow::Context;
use poolhouse_frameworks::service::on_tonic::{ActsClient, Call};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Endpoint;

/// The protocol of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Http,
    Grpc,
}

/// An answer. `status` is `None` if the connection was closed without one. A gRPC status is mapped to the HTTP status of the same
/// meaning.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

/// A request without its answer yet. Dropping the value closes the connection.
pub(crate) enum Sent {
    Http(TcpStream),
    Grpc(OpenCall),
}

/// A call in a task. Dropping the value aborts the task.
pub(crate) struct OpenCall(JoinHandle<Result<String, tonic::Status>>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Sends a request.
    ///
    /// # Errors
    ///
    /// When the connection is refused.
    pub(crate) async fn send(
        self,
        address: SocketAddr,
        what: &str,
        key: i32,
    ) -> anyhow::Result<Sent> {
        match self {
            Self::Http => {
                let mut stream = TcpStream::connect(address).await?;
                let head = match what {
                    "ready" => "GET /readyz".to_owned(),
                    what => format!("POST /{what}/{key}"),
                };
                let request = format!(
                    "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                // A server that shuts down may reset the connection; then there is no answer either.
                let _ = stream.write_all(request.as_bytes()).await;
                Ok(Sent::Http(stream))
            }
            Self::Grpc => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                let mut client = ActsClient::new(endpoint.connect().await?);
                let what = what.to_owned();
                let call = tokio::spawn(async move {
                    let done = client.act(Call { what, key }).await?;
                    Ok(done.into_inner().said)
                });
                Ok(Sent::Grpc(OpenCall(call)))
            }
        }
    }
}

impl Sent {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> anyhow::Result<Answer> {
        match self {
            Self::Http(stream) => of_http(stream).await,
            Self::Grpc(mut call) => Ok(of_grpc((&mut call.0).await?)),
        }
    }
}

async fn of_http(mut stream: TcpStream) -> anyhow::Result<Answer> {
    let mut bytes = Vec::new();
    // A server that abandons the request may reset the connection.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(Answer {
            status: None,
            retry_after: None,
            body: text.into_owned(),
        });
    };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let retry_after = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
        .map(|(_, value)| value.to_owned());
    Ok(Answer {
        status: Some(status.context("a status")?.parse()?),
        retry_after,
        body: body.to_owned(),
    })
}

fn of_grpc(answer: Result<String, tonic::Status>) -> Answer {
    let (status, body) = match answer {
        Ok(said) => (Some(200), said),
        Err(status) => {
            let code = match status.code() {
                // The transport's own errors have a source.
                _ if std::error::Error::source(&status).is_some() => None,
                Code::Unavailable => Some(503),
                Code::Internal => Some(500),
                _ => None,
            };
            (code, status.message().to_owned())
        }
    };
    Answer {
        status,
        retry_after: None,
        body,
    }
}
