//! Items that are not functions with a body. They stay as they are.

use poolhouse::with_pool;

#[with_pool(max_size = 20)]
pub struct Service; //~

#[with_pool]
static PORT: u16 = 8000; //~

pub trait Serve {
    #[with_pool]
    async fn serve(&self); //~
}

impl Serve for Service {
    async fn serve(&self) {
        println!("{PORT}");
    }
}

fn main() {}
