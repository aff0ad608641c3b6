//! A panic in the body has its own location, as in any other function.

use std::panic;
use std::sync::mpsc;
use std::thread;

use poolhouse::{SqliteEngine, with_pool};

/// The line of the panic in the body of [`main`].
const LINE: u32 = line!() + 6;
const COLUMN: u32 = 5;

#[with_pool(engine = "panics", url = "sqlite::memory:", signals = false)]
#[tokio::main(flavor = "current_thread")]
async fn main(db: SqliteEngine) {
    panic!("{}", db.status().max);
}

#[test]
fn a_panic_is_where_the_user_wrote_it() {
    let (sender, locations) = mpsc::channel();
    let this = thread::current().id();
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == this {
            let location = panic.location().map(ToString::to_string);
            // The test holds the receiver.
            let _ = sender.send(location);
        } else {
            others(panic);
        }
    }));
    let payload = panic::catch_unwind(main).expect_err("the body panics");
    drop(panic::take_hook());
    assert_eq!(
        payload.downcast_ref::<String>().map(String::as_str),
        Some("10")
    );
    let expected = format!("{}:{LINE}:{COLUMN}", file!());
    assert_eq!(
        locations.try_iter().flatten().collect::<Vec<_>>(),
        [expected]
    );
}
