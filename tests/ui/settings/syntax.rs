//! Arguments that are not `name = value`, and the arguments after them.

#[poolhouse::with_pool(
    "max_size" = 3, //~
    min_size: 2, //~
    lazy lazy, //~
    signals, //~
    engine =, //~
    session("SET TIME ZONE 'UTC'"), //~
    env == "BANDS_URL", //~
    5, //~
    flavor = "single" //~
)]
async fn main() {}

mod no_name {
    #[poolhouse::with_pool("postgres://localhost/bands")] //~
    async fn main() {}
}
