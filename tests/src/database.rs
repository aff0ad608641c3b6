//! A database and a user of a test's own.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    thread,
};

use anyhow::Context;
use tokio::{runtime, time::timeout};
use url::Url;

use crate::{Kind, Server, eventually::LIMIT};

/// A database with a user of its own, on any server. The user is no superuser, may create further
/// databases, and has no sessions but the test's, which is what makes the server's evidence exact
/// while other tests run.
///
/// Both are removed on drop, sessions included. The drop blocks its thread for as long as the
/// server takes.
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

    /// The URL for the database's own user.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The same URL by way of another address, such as a proxy's or a pooler's.
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

    /// Where the server listens.
    ///
    /// # Errors
    /// When the name of its host has no address.
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

    /// The user's password, which must never be seen in a log, an error or a `Debug`.
    pub fn password(&self) -> &str {
        self.url.password().unwrap_or_default()
    }

    /// The kind of its server.
    pub fn kind(&self) -> Kind {
        self.server.kind
    }

    /// The server it is on.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A thread and a runtime of its own: a drop may happen inside a runtime, outside any, or
        // while one ends. A server that a test has stopped keeps its database; both end with the
        // server's folder.
        let (server, name) = (self.server.clone(), self.name.clone());
        let remover = thread::spawn(move || -> anyhow::Result<()> {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { timeout(LIMIT, remove(&server, &name)).await? })
        });
        // Whatever comes of it, the test has its verdict already.
        let _ = remover.join();
    }
}

async fn remove(server: &Server, name: &str) -> anyhow::Result<()> {
    let facts = server.kind.facts();
    let clearing = server.ask(&[facts.clear_database(name)]).await?;
    for statement in clearing.into_iter().flatten().flatten() {
        // One at a time: a session that has just ended by itself cannot be ended, which is no
        // reason to stop.
        let _ = server.ask(&[statement]).await;
    }
    server.ask(&facts.drop_database(name)).await?;
    Ok(())
}

/// A name for a database that no other run uses, in the letters that need no quotes anywhere. At
/// most 32 bytes, which is what MySQL allows a user.
fn name_from(hint: &str) -> String {
    let hint: String = hint
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .take(20)
        .collect();
    format!("t_{hint}_{:.8}", random())
}

/// Sixteen hexadecimal digits from the operating system's randomness, which is what a `RandomState`
/// is seeded with.
pub(crate) fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
