//! A directory that does not exist.

#[poolhouse::with_pool(migrations = "migratoins")] //~
async fn main() {}
