//! The signals that end a server, as in axum's example `graceful-shutdown`.

use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM.
pub(super) async fn shutdown_signal() {
    let interrupt = async { ctrl_c().await.expect("SIGINT can be listened for") };
    let terminate = async {
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
        terminate.recv().await;
    };
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
