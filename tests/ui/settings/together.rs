//! Settings that contradict each other.

mod twice {
    #[poolhouse::with_pool(max_size = 5, max_size = 6)] //~
    async fn main() {}
}

mod sizes {
    #[poolhouse::with_pool(max_size = 5, min_size = 10)] //~
    async fn main() {}
}

mod urls {
    #[poolhouse::with_pool(url = "postgres://localhost/bands", env = "BANDS_URL")] //~
    async fn main() {}
}

mod migrations {
    static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

    #[poolhouse::with_pool(migrator = MIGRATOR, migrations = directory())] //~
    async fn main() {}

    fn directory() -> String {
        String::from("migrations")
    }
}

mod threads {
    #[poolhouse::with_pool(flavor = "current_thread", worker_threads = 4)] //~
    async fn main() {}
}

mod pooler {
    #[poolhouse::with_pool(pooler = "pgbouncer", session = "SET TIME ZONE 'UTC'")] //~
    async fn main() {}
}

fn main() {}
