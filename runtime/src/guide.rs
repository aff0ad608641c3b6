//! The guide: one page for each topic.
//!
//! The pages are the files of the folder `docs` in the repository. Their examples are compiled as doc tests.

/// A page, from its file. `guide/links.md` comes first: where a link has two definitions, Markdown takes the first.
macro_rules! pages {
    ($($page:ident: $file:literal;)+) => {$(
        #[cfg_attr(not(doctest), doc = include_str!("guide/links.md"))]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $page {}
    )+};
}

pages! {
    settings: "settings.md";
    lifecycle: "lifecycle.md";
    transactions: "transactions.md";
    testing: "testing.md";
    databases: "databases.md";
    hosts: "hosts.md";
    deploying: "deploying.md";
    errors: "errors.md";
    from_sqlx_pool: "from-sqlx-pool.md";
    mistakes: "mistakes.md";
}

// Its examples are compiled in `tests`, which has the frameworks.
#[cfg(not(doctest))]
pages! {
    web: "web.md";
}
