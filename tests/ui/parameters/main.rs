//! Types that poolhouse cannot fill in, on `main`.

use poolhouse::{PgEngine, with_pool};

#[with_pool]
async fn main(db: PgEngine, port: u16) -> anyhow::Result<()> { //~
    println!("{port}");
    drop(db);
    Ok(())
}

mod reference {
    use poolhouse::{PgEngine, with_pool};

    #[with_pool]
    async fn main(db: &PgEngine) { //~
        let _ = db;
    }
}

mod optional {
    use poolhouse::{PgEngine, with_pool};

    #[with_pool]
    async fn main(db: Option<PgEngine>) { //~
        drop(db);
    }
}

mod not_send {
    use std::rc::Rc;

    use poolhouse::{PgEngine, with_pool};

    #[with_pool]
    async fn main(db: Rc<PgEngine>) { //~
        drop(db);
    }
}

mod unnamed {
    use poolhouse::with_pool;

    #[with_pool]
    async fn main(db: impl Clone) { //~
        let _ = db;
    }
}
