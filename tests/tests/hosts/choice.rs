//! The choice of a host, as libpq makes it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, ensure};
use poolhouse::{Settings, engine_finder_with, with_pool};
use poolhouse_tests::{Kind, Rewriting, Sql, servers};
use sqlx::{MySql, Postgres, Sqlite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{follows, port, primary, scheme_of, started, url_of, user_of};

/// An address without a listener.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[tokio::test]
async fn each_target_finds_its_host_on_postgres() -> anyhow::Result<()> {
    each_target_finds_its_host::<Postgres>().await
}

#[tokio::test]
async fn each_target_finds_its_host_on_mariadb() -> anyhow::Result<()> {
    each_target_finds_its_host::<MySql>().await
}

async fn each_target_finds_its_host<DB: Sql>() -> anyhow::Result<()> {
    let Some(builder) = primary::<DB>()? else {
        return Ok(());
    };
    let primary = builder.start().await?;
    let replica = primary.replica().await?;
    let database = primary.database("hosts").await?;
    let (scheme, user) = (scheme_of::<DB>(), user_of(&database));
    follows::<DB>(&replica, &database).await?;

    let (one, other) = (primary.address(), replica.address());
    for (hosts, rest, expected) in [
        (vec![one, other], "", one),
        (vec![other, one], "", other),
        (vec![NOBODY, other, one], "", other),
        (vec![other, one], "?target_session_attrs=any", other),
        (
            vec![other, NOBODY, one],
            "?target_session_attrs=read-write",
            one,
        ),
        (vec![other, one], "?target_session_attrs=primary", one),
        (vec![one, other], "?target_session_attrs=read-only", other),
        (vec![one, other], "?target_session_attrs=standby", other),
        (
            vec![one, other],
            "?target_session_attrs=prefer-standby",
            other,
        ),
        (
            vec![NOBODY, one],
            "?target_session_attrs=prefer-standby",
            one,
        ),
    ] {
        let rest = format!("{}{rest}", database.name());
        let settings = Settings::new()
            .engine("hosts")
            .url(url_of(scheme, &user, &hosts, &rest));
        let engine = started::<DB>(&settings).await?;
        let port = port(&engine).await?;
        ensure!(port == expected.port(), "{hosts:?} {rest}: {port}");
        engine.close_connection_pool().await;
    }

    // With a random choice, both get some of twenty connections: only one run in half a million misses one of them.
    let rest = format!("{}?load_balance_hosts=random", database.name());
    let url = url_of(scheme, &user, &[one, other], &rest);
    let settings = Settings::new()
        .engine("hosts")
        .url(url)
        .max_size(20)
        .min_size(20);
    let engine = started::<DB>(&settings).await?;
    let here = database.sessions().await?.len();
    ensure!((1..20).contains(&here), "{here} of 20");
    engine.close_connection_pool().await;

    // No host is a standby.
    let rest = format!("{}?target_session_attrs=standby", database.name());
    let settings = Settings::new()
        .engine("hosts")
        .url(url_of(scheme, &user, &[NOBODY, one], &rest))
        .start_timeout("3s");
    let error = started::<DB>(&settings).await.err();
    let said = error.context("it has started")?.to_string();
    for words in [
        "none of the hosts that answer is standby (127.0.0.1:1: the server refused the connection",
        &format!("{one}: it is not standby), tried "),
        "correct the hosts and target_session_attrs of the url",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    ensure!(!said.contains(database.password()), "{said}");
    database.no_session_left().await
}

#[tokio::test]
async fn a_wrong_password_ends_the_search() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("hosts").await?;
        let hosts = [database.address()?, NOBODY];
        let said = match kind {
            Kind::Postgres => refused::<Postgres>(&hosts, database.name()).await?,
            Kind::MariaDb => refused::<MySql>(&hosts, database.name()).await?,
        };
        ensure!(said.contains("rejected the user or the password"), "{said}");
    }
    Ok(())
}

/// From MariaDB 12.0 on, `read_only` is a text.
#[tokio::test]
async fn a_server_whose_read_only_is_a_text_has_a_role() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::MariaDb) else {
        return Ok(());
    };
    let database = server.database("hosts").await?;
    let reads = async |value: &str| {
        let value = format!("'{value}'");
        Rewriting::before(database.address()?, "@@global.read_only", &value).await
    };
    let writable = reads("OFF").await?;
    for value in ["ON", "NO_LOCK"] {
        let read_only = reads(value).await?;
        let hosts = [read_only.address(), writable.address()];
        for (target, expected) in [("read-write", hosts[1]), ("standby", hosts[0])] {
            let rest = format!("{}?target_session_attrs={target}", database.name());
            let url = url_of("mysql", &user_of(&database), &hosts, &rest);
            let engine = started::<MySql>(&Settings::new().engine("hosts_texts").url(url)).await?;
            let port = engine.connect_options().get_port();
            ensure!(port == expected.port(), "{value}, {target}: {port}");
            engine.close_connection_pool().await;
        }
        ensure!(read_only.replaced() > 0, "{value} is not seen");
    }
    Ok(())
}

/// An error of a server about itself: its number on MySQL, its code on Postgres, and its message.
#[derive(Clone, Copy)]
enum Trouble {
    Postgres(&'static str, &'static str),
    MySql(u16, &'static str),
}

impl Trouble {
    /// Starts a server that answers each login with the error. Returns its address, and how many clients have come.
    async fn host(self) -> anyhow::Result<(SocketAddr, Arc<AtomicUsize>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let clients = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&clients);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Relaxed);
                // A client that goes away early is of no interest.
                tokio::spawn(async move { self.refuse(&mut client).await });
            }
        });
        Ok((address, clients))
    }

    async fn refuse(self, client: &mut TcpStream) -> io::Result<()> {
        match self {
            // https://www.postgresql.org/docs/current/protocol-message-formats.html
            Self::Postgres(code, message) => {
                // The request for encryption, and its answer: no.
                client.read_exact(&mut [0; 8]).await?;
                client.write_all(b"N").await?;
                let length = client.read_u32().await?;
                let mut login = vec![0; length as usize - 4];
                client.read_exact(&mut login).await?;
                let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
                client.write_u8(b'E').await?;
                let length = u32::try_from(fields.len() + 4).map_err(io::Error::other)?;
                client.write_u32(length).await?;
                client.write_all(fields.as_bytes()).await?;
            }
            // https://mariadb.com/kb/en/err_packet/, in place of the handshake.
            Self::MySql(number, message) => {
                let mut packet = vec![0xff];
                packet.extend(number.to_le_bytes());
                packet.extend(message.as_bytes());
                // Three bytes, and the packet's number, which is 0.
                let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
                client.write_u32_le(length).await?;
                client.write_all(&packet).await?;
            }
        }
        client.shutdown().await?;
        // A close with unread data would be a reset, which may overtake the error.
        tokio::io::copy(client, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

#[tokio::test]
async fn the_trouble_of_one_host_does_not_end_the_search_on_postgres() -> anyhow::Result<()> {
    for (code, message) in [
        ("53200", "out of memory"),
        ("53100", "could not extend file"),
        ("58030", "could not read file"),
    ] {
        the_next_host_is_used::<Postgres>(Trouble::Postgres(code, message)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_trouble_of_one_host_does_not_end_the_search_on_mariadb() -> anyhow::Result<()> {
    for (number, message, words) in [
        (
            3032,
            "The server is currently in offline mode",
            "the server is in offline mode",
        ),
        (
            1129,
            "Host 'web1' is blocked because of many connection errors",
            "the server has blocked this machine",
        ),
        (
            1021,
            "Disk full (/tmp/MAI)",
            "the server rejected the connection",
        ),
    ] {
        let trouble = Trouble::MySql(number, message);
        the_next_host_is_used::<MySql>(trouble).await?;

        let (host, _) = trouble.host().await?;
        let hosts = [host, NOBODY];
        let settings = Settings::new()
            .engine("hosts_trouble")
            .url(url_of("mysql", "band:band", &hosts, "band"))
            .start_timeout("5s");
        let error = started::<MySql>(&settings).await.err();
        let said = error.context("it has started")?.to_string();
        let words = format!("none of the hosts can be used ({}: {words}", hosts[0]);
        ensure!(said.contains(&words), "{words} is not in {said}");
    }
    Ok(())
}

async fn the_next_host_is_used<DB: Sql>(trouble: Trouble) -> anyhow::Result<()> {
    let Some(server) = DB::SERVER.and_then(servers::require) else {
        return Ok(());
    };
    let database = server.database("hosts").await?;
    let (host, clients) = trouble.host().await?;
    let hosts = [host, database.address()?];
    let settings = Settings::new().engine("hosts_trouble").url(url_of(
        scheme_of::<DB>(),
        &user_of(&database),
        &hosts,
        database.name(),
    ));
    let engine = started::<DB>(&settings).await?;
    ensure!(port(&engine).await? == hosts[1].port());
    ensure!(clients.load(Relaxed) > 0, "the first host was not asked");
    engine.close_connection_pool().await;
    Ok(())
}

async fn refused<DB: Sql>(hosts: &[SocketAddr], name: &str) -> anyhow::Result<String> {
    let scheme = scheme_of::<DB>();
    let settings = Settings::new()
        .engine(format!("hosts_{scheme}"))
        .url(url_of(scheme, "nobody:wrong", hosts, name));
    let found = started::<DB>(&settings).await;
    Ok(found.err().context("it has started")?.to_string())
}

/// `connect_options` has the address of the last connection.
#[tokio::test]
async fn the_options_are_those_of_the_host_that_was_taken() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("hosts").await?;
    let address = database.address()?;
    let url = url_of(
        "postgres",
        &user_of(&database),
        &[NOBODY, address],
        database.name(),
    );
    let engine = started::<Postgres>(&Settings::new().engine("hosts").url(url)).await?;
    ensure!(engine.connect_options().get_port() == address.port());
    engine.close_connection_pool().await;
    Ok(())
}

#[test]
fn a_list_that_is_none_is_explained() -> anyhow::Result<()> {
    for (url, words) in [
        (
            "postgres://u:s3cret@h1,h2,h3/db?port=5432,5433",
            "the hosts of the url are not clear: it has 2 ports for 3 hosts; give one for all, or one for each",
        ),
        (
            "postgres://u:s3cret@h1,h2/db?target_session_attrs=read-only2",
            "`read-only2` is not a value of target_session_attrs (did you mean `read-only`?); it takes one of any, read-write, \
             read-only, primary, standby, prefer-standby. Correct that part of the url",
        ),
    ] {
        let settings = Settings::new().engine("hosts").url(url);
        let said = match url.replace("postgres", "mysql") {
            mysql if said_by::<MySql>(&settings.clone().url(&mysql))?.contains(words) => {
                said_by::<Postgres>(&settings)?
            }
            mysql => anyhow::bail!("{mysql} is accepted"),
        };
        ensure!(
            said.contains(words) && said.contains("url = postgres://u:***@h1,h2"),
            "{said}"
        );
        ensure!(!said.contains("s3cret"), "{said}");
    }
    // A comma in a file name makes no list.
    engine_finder_with::<Sqlite>(&Settings::new().engine("hosts_file").url("sqlite:a,b.db"))?;
    Ok(())
}

fn said_by<DB: poolhouse::Backend>(settings: &Settings) -> anyhow::Result<String> {
    let found = engine_finder_with::<DB>(settings);
    Ok(found.err().context("it is accepted")?.to_string())
}

#[with_pool(engine = "hosts", url = url)]
async fn on_a_sqlx_pool(url: &str, #[pool] pool: sqlx::PgPool) -> Result<(), poolhouse::Error> {
    let _ = (url, pool);
    Ok(())
}

#[tokio::test]
async fn a_sqlx_pool_knows_one_host() -> anyhow::Result<()> {
    let started = on_a_sqlx_pool("postgres://u@127.0.0.1:1,127.0.0.1:2/db").await;
    let said = started.err().context("it has started")?.to_string();
    ensure!(said.contains("which supports one host"), "{said}");
    Ok(())
}
