//! Random inputs: the expansion neither panics nor loops, and its output is valid Rust or reports an error.
//!
//! The inputs are the same in every run. `POOLHOUSE_FUZZ_INPUTS=1000000` sets another number of them.

use super::{Expand, split};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Uses to mutate, most of them valid.
#[rustfmt::skip]
const SEEDS: &[&str] = &[
    "#[with_pool] async fn main() {}",
    "#[with_pool(max_size = 20, acquire_timeout = \"5s\")] async fn main(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> { run(&db).await?; Ok(()) }",
    "#[with_pool(engine = \"reports\", min_size = 1, max_size = 5, lazy = true)] pub async fn serve(app: Router, #[pool] db: MySqlEngine) -> Result<(), AppError> { Ok(()) }",
    "#[with_pool(url = \"sqlite::memory:\", extensions(\"citext\", \"hstore\"), log_queries = \"debug\")] #[tokio::main(flavor = \"current_thread\")] async fn main(#[pool(engine = \"a\", leak_after = LEAK)] mut a: Engine<Postgres>, b: PgPool) -> ExitCode { loop {} }",
    "#[with_pool(crate = crate::db, migrations = \"snapshots/migrations\")] #[cfg_attr(test, allow(unused))] async fn f<'a, T: Into<u32> + 'a, const N: usize>(x: &'a str, (a, _): (u8, [T; N]), _: impl Fn(u8) -> u8, #[pool] db: PgPool) -> Result<impl Sized, E> where T: Clone { todo!() }",
    "#[with_pool(flavor = \"multi_thread\", worker_threads = 4, migrator = crate::MIGRATOR, max_size = if x { 1 } else { 2 })] async fn main(r#type: SqliteEngine, Pair(_, b): Pair) { let x = |a| a; for y in x { z::<u8>(y)?; } }",
    "#[with_pool(env = \"BANDS_URL\", validate_after = LATER, session = \"SET ROLE app\", application_name = name())] #[instrument(skip_all)] async fn job(Config { n, .. }: Config, #[pool(engine = \"b\", max_size = 1)] db: PgPool, #[pool] other: PgEngine) { drop((n, db)) }",
    "#[with_pool(connect_with = tune::<A, B>, migrator = MIGRATOR, signals = !true, session = concat!(\"a\", \"b\"))] async fn r#type(&self, #[pool] r#fn: Checkout<Sqlite>) -> Self {}",
    "#[with_pool(max_connections = 5, timeouts = -3, \"x\" = 'c', statement_cache = 5u64, shutdown_timeout = \"1 fortnight\")] unsafe extern \"C\" fn g(x: u8, ...) {}",
    "#[with_pool(session = n, url = whole)] #[rstest] #[case(1)] #[tokio::test] async fn t(#[case] #[future] n: u8, #[future(awt)] whole: String, #[pool] db: PgEngine) { f(n.await) }",
    "#[with_pool(flavor = \"current_thread\", worker_threads = 0)] #[test] fn t(#[case] db: PgEngine) {}",
];

const WORDS: &str = "async fn main pub crate self Self unsafe const extern impl where for dyn mut ref move r#async _ \
    pool with_pool transactional tx Transaction retries timeout isolation local join durable max_size min_size url env migrations migrator engine crate flavor signals test cfg cfg_attr \
    # ! = == : :: , ; . .. ... => -> & && < > << + - * / ? @ | $ ' \
    0 1 20 -1 4294967296 99999999999999999999999 1.5 5u8 0xff 'a 'x' b'x' \"\" \"5s\" \"a=b\" \"\\u{0}\" b\"x\" c\"x\" true PgEngine";

/// The same for `#[transactional]`.
#[rustfmt::skip]
const TRANSACTIONAL: &[&str] = &[
    "#[transactional] async fn add(tx: &mut Transaction<Postgres>, name: &str) -> sqlx::Result<()> { query(name).execute(tx).await?; Ok(()) }",
    "#[transactional(isolation = \"serializable\", retries = 3, timeout = \"5s\")] pub async fn transfer(tx: &mut Transaction<Postgres>, from: i64, to: i64) -> Result<(), AppError> { Ok(()) }",
    "#[transactional(read_only, deferrable = true, local(\"app.tenant\" = tenant, \"app.user\" = user.id()))] async fn f<'a, DB: Backend, const N: usize>(&'a self, tx: &mut Transaction<DB>, tenant: &'a str, user: User) -> Result<impl Sized + 'a, E> where E: From<u8> { todo!() }",
    "#[transactional(join = false, retry_if = |e: &E| e.again(), crate = crate::db)] #[instrument(skip_all)] async fn g(mut self, Path(id): Path<i64>, _: u8, mut tx: &mut PgTransaction, mut n: u64, f: impl Fn(u8) -> u8) -> ApiResult { loop {} }",
    "#[transactional(mandatory, retries = RETRIES)] async fn h((a, _): (u8, [u8; 2]), _: &mut poolhouse::Transaction<MySql>) -> Result<(), E> { x }",
    "#[transactional(durable, retries = 0)] async fn r#type(&mut self, tx: &mut Transaction<Any>, out: &mut Vec<u8>) -> Result<(), E> { x }",
    "#[transactional(max_retries = 5, propagation = \"required\", timeout = \"0s\", rollback_for = X)] unsafe extern \"C\" fn i(a: Transaction<Sqlite>, b: &'a mut Transaction<Sqlite>, ...) {}",
];

#[test]
fn no_input_panics_or_comes_out_as_nonsense() {
    no_input_of(SEEDS);
}

#[test]
fn no_input_of_transactional_panics_or_comes_out_as_nonsense() {
    no_input_of(TRANSACTIONAL);
}

fn no_input_of(seeds: &[&str]) {
    let inputs = std::env::var("POOLHOUSE_FUZZ_INPUTS")
        .map_or(10_000, |wish| wish.parse().expect("a number of inputs"));
    let mut fuzz = Fuzz::new(seeds);
    let mut accepted = 0;
    for index in 0..inputs {
        let (args, item) = fuzz.input();
        let expand = fuzz.expand;
        let output = catch_unwind(AssertUnwindSafe(|| expand(args.clone(), item.clone())));
        let Ok(output) = output else {
            panic!("input {index} panics:\n#[…({args})] {item}")
        };
        let (emitted, is_refused) = without_errors(output.clone());
        accepted += usize::from(!is_refused);
        // An item that is not a function comes out as it is.
        let is_unchanged = is_refused && emitted.to_string() == item.to_string();
        assert!(
            is_unchanged || is_rust(&emitted, &item),
            "input {index}:\n#[…({args})] {item}\ncomes out as\n{output}"
        );
    }
    // Otherwise too many inputs are refused, and the test says little about functions that are expanded.
    assert!(
        accepted > inputs / 20,
        "only {accepted} of {inputs} inputs were accepted"
    );
}

/// The output without the errors at its end, and whether there are any.
fn without_errors(output: TokenStream) -> (TokenStream, bool) {
    let trees: Vec<TokenTree> = output.into_iter().collect();
    let error = trees
        .iter()
        .position(|tree| matches!(tree, TokenTree::Ident(word) if word == "compile_error"));
    // `:: core ::` in front of it is five tokens.
    let end = error.map_or(trees.len(), |at| at - 5);
    (trees.into_iter().take(end).collect(), error.is_some())
}

/// Whether the output is valid, also without the body, which is passed on unchanged for the compiler to check.
fn is_rust(output: &TokenStream, item: &TokenStream) -> bool {
    let parses = |tokens| syn::parse2::<syn::File>(tokens).is_ok();
    let body = item.clone().into_iter().last().map(bare);
    parses(output.clone())
        || body.is_some_and(|body| parses(without(output.clone(), &body.to_string())))
}

/// The token inside invisible groups.
fn bare(tree: TokenTree) -> TokenTree {
    match &tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            group.stream().into_iter().next().map_or(tree, bare)
        }
        _ => tree,
    }
}

/// Empties each group with the text of the body.
fn without(tokens: TokenStream, body: &str) -> TokenStream {
    let trees = tokens.into_iter().map(|tree| match &tree {
        TokenTree::Group(group) => {
            let inside = if tree.to_string() == body {
                TokenStream::new()
            } else {
                without(group.stream(), body)
            };
            Group::new(group.delimiter(), inside).into()
        }
        _ => tree,
    });
    trees.collect()
}

struct Fuzz {
    state: u64,
    expand: Expand,
    seeds: Vec<(TokenStream, TokenStream)>,
    words: Vec<TokenTree>,
}

impl Fuzz {
    fn new(seeds: &[&str]) -> Fuzz {
        let parse = |source: &&str| {
            source
                .parse()
                .map(split)
                .expect("a seed has balanced groups")
        };
        let seeds: Vec<_> = seeds.iter().map(parse).collect();
        let words = WORDS
            .split_whitespace()
            .filter_map(|word| word.parse::<TokenStream>().ok())
            .flatten();
        Fuzz {
            state: 0x9E37_79B9_7F4A_7C15,
            expand: seeds[0].0,
            seeds: seeds
                .into_iter()
                .map(|(_, args, item)| (args, item))
                .collect(),
            words: words.collect(),
        }
    }

    /// A number below `bound`, by splitmix64: small, and the same on every machine.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // The remainder is less than `bound`, so it fits.
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or_default()
    }

    /// Arguments and an item: each is random tokens, or a seed with or without mutations; the two seeds may differ.
    fn input(&mut self) -> (TokenStream, TokenStream) {
        let (one, other) = (self.below(self.seeds.len()), self.below(self.seeds.len()));
        let (args, item) = (self.seeds[one].0.clone(), self.seeds[other].1.clone());
        match self.below(10) {
            0 => (self.soup(3), self.soup(3)),
            1 => (self.soup(3), item),
            2 => (args, self.soup(3)),
            3..5 => (self.mutated(args), item),
            5..8 => (args, self.mutated(item)),
            _ => (self.mutated(args), self.mutated(item)),
        }
    }

    fn soup(&mut self, depth: usize) -> TokenStream {
        (0..self.below(12)).map(|_| self.tree(depth)).collect()
    }

    fn tree(&mut self, depth: usize) -> TokenTree {
        if depth > 0 && self.below(6) == 0 {
            return self.group(depth).into();
        }
        let word = self.below(self.words.len());
        self.words[word].clone()
    }

    fn group(&mut self, depth: usize) -> Group {
        let delimiters = [
            Delimiter::Parenthesis,
            Delimiter::Brace,
            Delimiter::Bracket,
            Delimiter::None,
        ];
        let delimiter = delimiters[self.below(delimiters.len())];
        Group::new(delimiter, self.soup(depth - 1))
    }

    fn mutated(&mut self, mut tokens: TokenStream) -> TokenStream {
        for _ in 0..=self.below(2) {
            tokens = self.mutation(tokens);
        }
        tokens
    }

    /// Removes, doubles, swaps, replaces or wraps one tree, at any depth.
    fn mutation(&mut self, tokens: TokenStream) -> TokenStream {
        let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
        if trees.is_empty() {
            return self.soup(2);
        }
        let at = self.below(trees.len());
        if let TokenTree::Group(group) = &trees[at]
            && self.below(4) > 0
        {
            trees[at] = Group::new(group.delimiter(), self.mutation(group.stream())).into();
            return trees.into_iter().collect();
        }
        match self.below(6) {
            0 => drop(trees.remove(at)),
            1 => trees.insert(at, trees[at].clone()),
            2 => {
                let other = self.below(trees.len());
                trees.swap(at, other);
            }
            3 => trees[at] = self.tree(2),
            4 => trees.insert(at, self.tree(2)),
            _ => trees[at] = Group::new(Delimiter::None, trees[at].clone().into()).into(),
        }
        trees.into_iter().collect()
    }
}
