//! One connection through the stand-in.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use super::{
    Node,
    says::{self, Becomes, Settings},
    wire::{self, Message},
};

/// Requests for encryption, and the protocol's version: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
const PROTOCOL: u32 = 3 << 16;

/// Accepts connections. Dropping the future ends every connection.
pub(super) async fn serve(listener: TcpListener, node: Arc<Node>) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        links.spawn(link(client, Arc::clone(&node)));
        while links.try_join_next().is_some() {}
    }
}

/// State that both directions of a connection share.
#[derive(Default)]
struct State {
    in_transaction: AtomicBool,
    /// The next commit is answered with an ambiguous result.
    ambiguous: AtomicBool,
    /// The server answers the proxy's own messages; the client receives only their error.
    ours: AtomicBool,
}

async fn link(mut client: TcpStream, node: Arc<Node>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let startup = loop {
        let body = wire::read_body(&mut client).await?;
        let code = u32::from_be_bytes(
            body.get(..4)
                .map_or([0; 4], |code| code.try_into().unwrap_or_default()),
        );
        if ENCRYPTION.contains(&code) {
            client.write_all(b"N").await?;
            continue;
        }
        if code == PROTOCOL && node.draining.load(Relaxed) {
            let refusal = "server is not accepting clients, try another node";
            return client
                .write_all(&Message::error("FATAL", "57P01", refusal).bytes())
                .await;
        }
        break body;
    };
    let mut server = TcpStream::connect(node.upstream).await?;
    server.set_nodelay(true)?;
    server.write_all(&wire::length(&startup)).await?;
    server.write_all(&startup).await?;

    let session = format!("{:032x}", fastrand::u128(..));
    let state = State::default();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The end of one direction ends the other.
    let ended = tokio::select! {
        ended = statements(&node, &session, &state, from_client, to_server) => ended,
        ended = answers(&node, &session, &state, from_server, to_client) => ended,
    };
    node.sessions().remove(&session);
    ended
}

/// From the client to the server.
async fn statements(
    node: &Node,
    session: &str,
    state: &State,
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
) -> io::Result<()> {
    let mut settings = Settings {
        autocommit_before_ddl: true,
    };
    // Whether messages up to the next Sync are skipped, because a conflict replaces them.
    let mut left_out = false;
    // Whether an exchange of the extended protocol is in progress. Each exchange has one chance of a conflict.
    let mut in_progress = false;
    while let Some(mut message) = Message::read(&mut client).await? {
        let in_transaction = state.in_transaction.load(Relaxed);
        match message.kind {
            b'Q' => {
                let (sql, _) = wire::take_text(&message.body);
                let sql = simple(node, session, state, &mut settings, &sql).await;
                message.body = wire::text(&sql);
            }
            b'P' | b'B' if in_transaction && !in_progress && node.faults().at_statement() => {
                left_out = true;
            }
            b'P' if !left_out => {
                let (name, rest) = wire::take_text(&message.body);
                let (sql, rest) = wire::take_text(rest);
                if let Becomes::Sql(sql) =
                    says::translate(node, session, &mut settings, false, &sql)
                {
                    message.body = [wire::text(&name), wire::text(&sql), rest.to_vec()].concat();
                }
            }
            b'S' if left_out => {
                left_out = false;
                state.ours.store(true, Relaxed);
                // Parse, bind and execute, each without a name or a parameter.
                let parse = [wire::text(""), wire::text(&says::conflict()), vec![0; 2]].concat();
                for (kind, body) in [(b'P', parse), (b'B', vec![0; 8]), (b'E', vec![0; 5])] {
                    server.write_all(&Message::new(kind, body).bytes()).await?;
                }
            }
            _ => {}
        }
        in_progress = matches!(message.kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H');
        if !left_out {
            server.write_all(&message.bytes()).await?;
        }
    }
    Ok(())
}

/// Translates a statement of the simple protocol.
async fn simple(
    node: &Node,
    session: &str,
    state: &State,
    settings: &mut Settings,
    sql: &str,
) -> String {
    const NOTHING: &str = "DO $$ BEGIN END $$";
    let in_transaction = state.in_transaction.load(Relaxed);
    let verb = sql
        .split([' ', ';'])
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    let ends = matches!(
        verb.as_str(),
        "ROLLBACK" | "BEGIN" | "SAVEPOINT" | "RELEASE"
    );
    let last = sql.rsplit(';').next().unwrap_or_default();
    let commits = last.trim().eq_ignore_ascii_case("COMMIT");
    if commits && !in_transaction {
        return says::failing("25P01", "there is no transaction in progress");
    }
    if commits {
        let mut faults = node.faults();
        if faults.at_commit() {
            return says::conflict();
        }
        state.ambiguous.store(faults.at_answer_of_commit(), Relaxed);
    } else if in_transaction && !ends && node.faults().at_statement() {
        return says::conflict();
    }
    match says::translate(node, session, settings, in_transaction, sql) {
        Becomes::Sql(sql) => sql,
        Becomes::Cancel(other) => {
            // A session that has ended already is no error: `IF EXISTS`.
            match node.end(&other).await {
                Ok(_) => NOTHING.to_owned(),
                Err(error) => says::failing("XX000", &error.to_string()),
            }
        }
    }
}

/// From the server to the client.
async fn answers(
    node: &Node,
    session: &str,
    state: &State,
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(mut message) = Message::read(&mut server).await? {
        match message.kind {
            b'K' => {
                let process = message
                    .body
                    .get(..4)
                    .map_or([0; 4], |id| id.try_into().unwrap_or_default());
                node.sessions()
                    .insert(session.to_owned(), i32::from_be_bytes(process));
            }
            b'1' | b'2' if state.ours.load(Relaxed) => continue,
            b'C' if message.body.starts_with(b"COMMIT") && state.ambiguous.swap(false, Relaxed) => {
                message = Message::error("ERROR", "40003", "result is ambiguous: error=rpc error");
            }
            b'Z' => {
                state.ours.store(false, Relaxed);
                state.in_transaction.store(message.body != [b'I'], Relaxed);
            }
            _ => {}
        }
        client.write_all(&message.bytes()).await?;
    }
    client.shutdown().await
}
