//! The part of the protocol that the stand-in needs: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
//!
//! No crate is used: those for servers implement the whole server, and this proxy forwards all but a few messages unchanged.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// One message: its kind, and the body after its length.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: u8, body: Vec<u8>) -> Self {
        Self { kind, body }
    }

    /// Reads the next message; `None` after the other side has closed.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let Ok(kind) = from.read_u8().await else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind,
            body: read_body(from).await?,
        }))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend(length(&self.body));
        bytes.extend(&self.body);
        bytes
    }

    /// An error as the server encodes it.
    pub(crate) fn error(severity: &str, code: &str, message: &str) -> Self {
        let mut body = Vec::new();
        for (field, value) in [
            ('S', severity),
            ('V', severity),
            ('C', code),
            ('M', message),
        ] {
            body.push(field as u8);
            body.extend(text(value));
        }
        body.push(0);
        Self::new(b'E', body)
    }
}

/// Reads a length and the body after it.
pub(crate) async fn read_body(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; (length as usize).saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok(body)
}

/// The length of a message, which includes the length itself.
pub(crate) fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The text at the start, and the rest.
pub(crate) fn take_text(body: &[u8]) -> (String, &[u8]) {
    let end = body
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(body.len());
    let rest = body.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&body[..end]).into_owned(), rest)
}
