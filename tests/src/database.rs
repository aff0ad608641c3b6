//! A test's own database and user.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    thread,
};

use anyhow::Context;
use tokio::{runtime, time::timeout};
use url::Url;

use crate::{Kind, Server, eventually::LIMIT};

/// A database with its own user, on any server. The user is no superuser and may create further
/// databases. All its sessions are the test's, so that the server's evidence is exact while other
/// tests run.
///
/// Dropping the value terminates the sessions and removes both. The drop blocks its thread until
/// the server answers.
#[derive(Debug)]
pub struct TestDatabase {
    server: Server,
    name: String,
    url: Url,
}

impl TestDatabase {
    pub(crate) async fn create(server: &Server, hint: &str) -> anyhow::Result<Self> {
        let name = name_from(hint);
        let password = random();
        server
            .ask(&server.kind.facts().create_database(&name, &password))
            .await?;

        let mut url: Url = server.url.parse().context("the server's URL")?;
        url.set_path(&name);
        url.set_username(&name)
            .and_then(|()| url.set_password(Some(&password)))
            .ok()
            .context("the server's URL has no host")?;
        Ok(Self {
            server: server.clone(),
            name,
            url,
        })
    }

    /// The URL with the database's own user.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The same URL with another address, such as a proxy's or a pooler's.
    ///
    /// # Panics
    /// Never: a server's URL has a host.
    pub fn url_through(&self, address: std::net::SocketAddr) -> String {
        let mut url = self.url.clone();
        url.set_ip_host(address.ip())
            .expect("a server's URL has a host");
        url.set_port(Some(address.port()))
            .expect("a server's URL has a host");
        url.into()
    }

    /// The address on which the server listens.
    ///
    /// # Errors
    /// When its host name has no address.
    pub fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        let addresses = self
            .url
            .socket_addrs(|| Some(self.kind().facts().default_port()))?;
        addresses
            .first()
            .copied()
            .context("the server's host has no address")
    }

    /// The name of the database and of its user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's password, which no log, error or `Debug` output may contain.
    pub fn password(&self) -> &str {
        self.url.password().unwrap_or_default()
    }

    /// The kind of its server.
    pub fn kind(&self) -> Kind {
        self.server.kind
    }

    /// The server of the database.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A separate thread and runtime, because a drop may happen inside a runtime, outside any,
        // or while one ends. On a stopped server the database stays, and is removed with the
        // server's folder.
        let (server, name) = (self.server.clone(), self.name.clone());
        let remover = thread::spawn(move || -> anyhow::Result<()> {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { timeout(LIMIT, remove(&server, &name)).await? })
        });
        // An error is ignored, because it says nothing about the test.
        let _ = remover.join();
    }
}

async fn remove(server: &Server, name: &str) -> anyhow::Result<()> {
    let facts = server.kind.facts();
    let clearing = server.ask(&[facts.clear_database(name)]).await?;
    for statement in clearing.into_iter().flatten().flatten() {
        // One at a time: a session that has ended already gives an error, and the others must still
        // be terminated.
        let _ = server.ask(&[statement]).await;
    }
    server.ask(&facts.drop_database(name)).await?;
    Ok(())
}

/// A database name that no other run uses and that needs no quotes. At most 32 bytes, the limit of
/// MySQL for a user.
fn name_from(hint: &str) -> String {
    let hint: String = hint
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .take(20)
        .collect();
    format!("t_{hint}_{:.8}", random())
}

/// Sixteen hexadecimal digits of the operating system's randomness, which seeds a `RandomState`.
pub(crate) fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
