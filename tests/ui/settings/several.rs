//! All mistakes of one attribute are reported in one build, those of the function with them.

use poolhouse::PgEngine;

#[poolhouse::with_pool(max_conections = 5, acquire_timeout = 30, signals)] //~~~
fn main(#[pool(min_size = "2")] db: PgEngine) { //~~
    let bands = db.connect_options();
    drop(bands);
}
