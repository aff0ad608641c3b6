//! The fourth stage: checks the function, and whether its settings fit it.

use crate::function::{Function, Parameter, is_pool};
use crate::pattern::{Binding, bindings};
use crate::position::{Position, Test, launch, runtime_of_main};
use crate::report::Report;
use crate::settings::{SettingValue, Settings};
use crate::table::Reach;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Path, Safety, Signature, Type};

/// The result of the checks, which decides what is emitted.
pub(crate) enum Checked {
    /// A function that can be expanded. Settings with mistakes are left out already.
    Function(Function, Settings),
    /// A function with mistakes, or without a known path into poolhouse.
    Mistaken(Function),
    /// An item that is not a function.
    Other(TokenStream),
}

/// The most parameters that poolhouse fills in; the runtime implements tuples up to this length.
const MOST_PARAMETERS: usize = 12;

pub(crate) fn check(
    function: Result<Function, TokenStream>,
    settings: Settings,
    report: &mut Report,
) -> Checked {
    let function = match function {
        Ok(function) => function,
        Err(item) => return Checked::Other(item),
    };
    check_reach(&settings, &function, report);
    for marked in function
        .parameters
        .iter()
        .filter_map(|parameter| parameter.pool.as_ref())
    {
        check_reach(marked, &function, report);
    }
    check_own_engine(&settings, &function, report);
    let before = report.len();
    check_header(&function, report);
    check_parameters(&function, &settings, report);
    if report.len() > before || settings.is_crate_unknown {
        Checked::Mistaken(function)
    } else {
        Checked::Function(function, settings)
    }
}

/// Reports settings that have no effect in their position.
fn check_reach(settings: &Settings, function: &Function, report: &mut Report) {
    for setting in &settings.list {
        let key = &setting.key;
        let in_runtime = |path: &Path| {
            let path = spelled(path);
            format!("`{key}` belongs in `#[{path}(…)]`, which builds the runtime here")
        };
        let message = match (setting.spec.reach, &function.position) {
            (
                Reach::Runtime,
                Position::MainUnder(path)
                | Position::Test(Test {
                    runtime: Some(path),
                    ..
                }),
            ) => in_runtime(path),
            (Reach::Runtime, Position::Lifespan) => match runtime_of_main(&function.attrs) {
                Some(path) => in_runtime(&path),
                None => format!(
                    "`{key}` belongs on `main`: any other function runs on its caller's runtime"
                ),
            },
            (Reach::Test, Position::Main | Position::MainUnder(_) | Position::Lifespan) => {
                format!("`{key}` belongs on a test function, above its test attribute")
            }
            _ => continue,
        };
        report.mistake(key, message);
    }
}

/// Reports settings of the attribute's engine when each parameter has another engine. Names that are not literals are left to the
/// runtime.
fn check_own_engine(settings: &Settings, function: &Function, report: &mut Report) {
    let Some(own) = engine_of(settings) else {
        return;
    };
    let filled = function.parameters.iter();
    let filled = filled.filter(|parameter| function.fills(parameter));
    let mut engines = filled
        .filter(|parameter| !is_shutdown(&parameter.typed.ty))
        .peekable();
    let has_another = |parameter: &Parameter| {
        let pool = parameter.pool.as_ref();
        pool.filter(|pool| pool.get("engine").is_some())
            .and_then(engine_of)
            .is_some_and(|engine| engine != own)
    };
    // Without any parameter, the attribute's engine is started.
    if engines.peek().is_none() || !engines.all(has_another) {
        return;
    }
    let is_test = matches!(function.position, Position::Test(_));
    for setting in &settings.list {
        let of_engine = match setting.spec.reach {
            Reach::Engine => true,
            Reach::Test => is_test,
            Reach::Lifecycle | Reach::Runtime | Reach::Crate => false,
        };
        if of_engine {
            let key = &setting.key;
            let message = format!(
                "`{key}` is a setting of the engine `{own}`, which no parameter has; write it in the `#[pool(…)]` of a parameter"
            );
            report.mistake(key, message);
        }
    }
}

/// The name of the engine that settings are for; `None` when it is not a literal.
fn engine_of(settings: &Settings) -> Option<&str> {
    match settings.get("engine").map(|setting| &setting.value) {
        None => Some("default"),
        Some(SettingValue::Text(name, _)) => Some(name),
        Some(_) => None,
    }
}

/// Whether the type is written as poolhouse's `Shutdown`, which has no engine.
fn is_shutdown(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident == "Shutdown")
}

fn check_header(function: &Function, report: &mut Report) {
    let signature = &function.signature;
    let name = &signature.ident;
    if let Some(launch) = launch(&function.attrs) {
        let message = format!(
            "`#[{}]` starts the server after this function has returned, when the pool is closed; write `#[rocket::main]` on `async fn main`, and `.launch().await` in it",
            spelled(&launch)
        );
        report.mistake(&launch, message);
    } else if signature.asyncness.is_none() {
        let message = match function.position {
            Position::Main | Position::MainUnder(_) => {
                "`main` must be an `async fn` under `#[with_pool]`; a runtime attribute such as `#[tokio::main]` goes below `#[with_pool]`, not above it".to_owned()
            }
            Position::Test(_) => {
                "a test must be an `async fn` under `#[with_pool]`; a test attribute such as `#[tokio::test]` goes below `#[with_pool]`, not above it".to_owned()
            }
            Position::Lifespan => format!("`#[with_pool]` goes on an `async fn`: `async fn {name}`"),
        };
        report.mistake(signature.fn_token, message);
    }
    check_qualifiers("with_pool", signature, report);
    if let Some(second) = second("with_pool", &function.attrs) {
        report.mistake(
            second,
            "`#[with_pool]` stands on this function twice; write all settings in one, and those of another engine in the `#[pool(…)]` of a parameter",
        );
    }
    if let Some(mark) = function.attrs.iter().find(|attr| is_pool(attr)) {
        report.mistake(
            mark,
            "`#[pool]` goes on a parameter, in front of its name: `#[pool] db: PgEngine`",
        );
    }
    if matches!(function.position, Position::Main | Position::MainUnder(_)) {
        check_main(function, report);
    }
}

/// The same attribute once more, below itself. One in `cfg_attr` is not found, because its condition may be false.
pub(crate) fn second<'a>(attribute: &str, attrs: &'a [Attribute]) -> Option<&'a Attribute> {
    attrs.iter().find(|attr| is_named(attribute, attr))
}

/// Whether the last segment of the attribute's path is this name.
pub(crate) fn is_named(name: &str, attr: &Attribute) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|last| last.ident == name)
}

/// Reports qualifiers that no generated function can have.
pub(crate) fn check_qualifiers(attribute: &str, signature: &Signature, report: &mut Report) {
    let subject = format!("a function under `#[{attribute}]` cannot be");
    if let Some(keyword) = signature.constness {
        report.mistake(keyword, format!("{subject} `const`"));
    }
    if let Safety::Unsafe(keyword) = signature.safety {
        let message = format!("{subject} `unsafe`; write `unsafe {{ … }}` in its body");
        report.mistake(keyword, message);
    }
    if let Some(abi) = &signature.abi {
        report.mistake(abi, format!("{subject} `extern`"));
    }
    if let Some(variadic) = &signature.variadic {
        report.mistake(variadic.dots, format!("{subject} variadic"));
    }
}

/// Reports what rustc refuses in the generated `main`, at the user's `main`.
fn check_main(function: &Function, report: &mut Report) {
    let generics = &function.signature.generics;
    if !generics.params.is_empty() {
        report.mistake(&generics.params, "`main` cannot be generic");
    }
    if let Some(clause) = &generics.where_clause {
        report.mistake(clause.where_token, "`main` cannot have a `where` clause");
    }
    let (marked, unmarked): (Vec<_>, Vec<_>) = function
        .parameters
        .iter()
        .partition(|parameter| parameter.pool.is_some());
    let is_callers = |parameter: &&Parameter| {
        let ty = &parameter.typed.ty;
        is_of_no_database(ty) && !names_ours(ty.to_token_stream())
    };
    if !marked.is_empty() && unmarked.iter().any(is_callers) {
        let message =
            "a function named `main` is the program's main; give a lifespan function another name";
        report.mistake(&function.signature.ident, message);
    }
}

fn check_parameters(function: &Function, settings: &Settings, report: &mut Report) {
    if let Some(receiver) = &function.receiver {
        let message = "`#[with_pool]` cannot stand on a method; put it on a free function that the method calls";
        report.mistake(receiver.self_token, message);
    } else if let Some(own) = mention("Self", function.header_tokens())
        .or_else(|| own_type(TokenStream::from(function.body.clone())))
    {
        let message = "`Self` has no meaning under `#[with_pool]`, which moves the body to a function of its own; write the type's name";
        report.mistake(own, message);
    }
    for parameter in &function.parameters {
        check_attributes(parameter, report);
        if !function.fills(parameter) {
            check_pattern(parameter, settings, function, report);
        }
    }
    let filled = || {
        function
            .parameters
            .iter()
            .filter(|parameter| function.fills(parameter))
    };
    for Parameter { typed, .. } in filled() {
        if let Some(word) = mention("impl", typed.ty.to_token_stream()) {
            report.mistake(
                word,
                "poolhouse must know the type of a parameter that it fills in, such as `PgEngine`",
            );
        }
    }
    if let Some(Parameter { typed, .. }) = filled().nth(MOST_PARAMETERS) {
        let message = format!(
            "poolhouse fills in at most {MOST_PARAMETERS} parameters; further engines can be had from `engine_finder` in the body"
        );
        report.mistake(&typed.pat, message);
    }
    if filled().next().is_none() {
        check_unmarked(function, report);
    }
}

fn check_attributes(Parameter { typed, .. }: &Parameter, report: &mut Report) {
    if let Some(conditional) = typed.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
        let message = "a parameter under `#[with_pool]` cannot depend on `#[cfg]`; write two functions and put `#[cfg]` on each";
        report.mistake(conditional, message);
    }
}

/// Reports settings that use a variable of a pattern, which exists in the body only: callers pass the whole parameter.
fn check_pattern(
    parameter: &Parameter,
    settings: &Settings,
    function: &Function,
    report: &mut Report,
) {
    let marks = function.parameters.iter();
    let marks = marks.filter_map(|parameter| parameter.pool.as_ref());
    let all: Vec<&Settings> = marks.chain([settings]).collect();
    let variables = bindings(&parameter.typed.pat).into_iter();
    for Binding { name, .. } in variables.filter(|it| Some(it.name) != parameter.name()) {
        for used in all.iter().filter_map(|settings| settings.variable(name)) {
            let ty = spelled(&parameter.typed.ty);
            let message = format!(
                "a setting cannot use `{name}`, which is part of a pattern; give the parameter a name, as in `value: {ty}`, and take it apart in the body"
            );
            report.mistake(used, message);
        }
    }
}

/// Reports an engine parameter of a function without any `#[pool]`, which was most likely forgotten.
fn check_unmarked(function: &Function, report: &mut Report) {
    for Parameter { typed, .. } in &function.parameters {
        if is_engine(&typed.ty) {
            let (pat, ty) = (spelled(&typed.pat), spelled(&typed.ty));
            // A test attribute above `#[with_pool]` is no longer there.
            let test = match function.position {
                Position::Lifespan => "; on a test, `#[with_pool]` goes above the test attribute",
                _ => "",
            };
            let message = format!(
                "poolhouse fills in this parameter only when it is marked: `#[pool] {pat}: {ty}`{test}"
            );
            report.mistake(&typed.pat, message);
        }
    }
}

/// Whether the type is written as one of poolhouse's. `Engine` needs type arguments, because other crates have one too.
fn is_engine(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|last| match last.ident.to_string().as_str() {
            "PgEngine" | "MySqlEngine" | "SqliteEngine" | "AnyEngine" => true,
            "Engine" | "Checkout" => !last.arguments.is_none(),
            _ => false,
        })
}

/// Whether poolhouse certainly cannot fill in the type as written. The name of a user's type may be an alias.
fn is_of_no_database(ty: &Type) -> bool {
    const NAMES: &[&str] = &[
        "bool",
        "char",
        "u8",
        "u16",
        "u32",
        "u64",
        "u128",
        "usize",
        "i8",
        "i16",
        "i32",
        "i64",
        "i128",
        "isize",
        "f32",
        "f64",
        "String",
        "PathBuf",
        "Duration",
        "SocketAddr",
        "Vec",
        "Option",
        "Box",
        "Rc",
        "Arc",
        "HashMap",
        "BTreeMap",
    ];
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| NAMES.iter().any(|name| last.ident == name)),
        Type::Reference(_) | Type::Tuple(_) | Type::Array(_) | Type::Slice(_) => true,
        _ => false,
    }
}

/// Whether the tokens name a type that poolhouse fills in, as `&PgEngine` does. It is most likely meant for poolhouse, and has
/// an error of its own.
fn names_ours(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => {
            let name = ident.to_string();
            let mut ends = ["Engine", "Pool", "Checkout", "Shutdown"].iter();
            ends.any(|end| name.ends_with(end))
        }
        TokenTree::Group(group) => names_ours(group.stream()),
        _ => false,
    })
}

/// The first use of a word in tokens, groups included.
pub(crate) fn mention(word: &str, tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ref ident) if ident == word => Some(token),
        TokenTree::Group(group) => mention(word, group.stream()),
        _ => None,
    })
}

/// The first `Self` of a body that certainly means the type around the function. Items of the body may have a `Self` of their
/// own, and the tokens of macros and attributes may mean anything.
fn own_type(body: TokenStream) -> Option<TokenTree> {
    const ITEMS: &[&str] = &["impl", "trait", "struct", "enum", "union", "macro_rules"];
    let mut in_item = false;
    let mut after_punct = ' ';
    for token in body {
        let punct = std::mem::replace(&mut after_punct, ' ');
        match token {
            TokenTree::Ident(ref ident) if ident == "Self" && !in_item => return Some(token),
            TokenTree::Ident(ident) => in_item |= ITEMS.iter().any(|item| ident == item),
            TokenTree::Punct(token) => {
                after_punct = token.as_char();
                in_item &= after_punct != ';';
            }
            TokenTree::Group(group) => {
                if !in_item
                    && !matches!(punct, '!' | '#')
                    && let Some(own) = own_type(group.stream())
                {
                    return Some(own);
                }
                in_item &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Literal(_) => {}
        }
    }
    None
}

/// Tokens as a user writes them; `Display` of a token stream has spaces everywhere.
pub(crate) fn spelled(tokens: &impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    [
        (" :: ", "::"),
        (" : ", ": "),
        (":: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        (" ,", ","),
        ("& ", "&"),
    ]
    .into_iter()
    .fold(text, |text, (spaced, tight)| text.replace(spaced, tight))
}
