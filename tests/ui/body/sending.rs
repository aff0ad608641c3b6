//! Values that a spawned future may not hold.

use std::rc::Rc;

use poolhouse::PgEngine;

#[poolhouse::with_pool]
pub async fn holds_a_local_value(#[pool] db: PgEngine) {
    let task = tokio::spawn(async {
        let local = Rc::new(5);
        tokio::task::yield_now().await;
        drop(local);
    });
    let _ = task.await;
    drop(db);
}
