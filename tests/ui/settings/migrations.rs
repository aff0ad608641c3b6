//! A directory that is not there.

#[poolhouse::with_pool(migrations = "migratoins")] //~
async fn main() {}
