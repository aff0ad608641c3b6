//! Invalid durations.

#[poolhouse::with_pool(
    acquire_timeout = 30, //~
    connect_timeout = "10", //~
    start_timeout = "5 parsecs", //~
    idle_timeout = "0s", //~
    leak_after = false, //~
    close_timeout = "soon" //~
)]
async fn main() {}
