//! `fixtures("bands", "../seeds/members.sql", seed)`: files are looked for while the attribute is expanded.

extern crate proc_macro;

use super::literal::bare;
use proc_macro2::Span;
use std::path::{Path, PathBuf};
use syn::{Error, Expr, ExprLit, Lit, LitStr, Result};

/// One fixture of a test.
pub(crate) enum Fixture {
    /// A file of SQL to embed, as written and as a path from the source file.
    File { written: LitStr, path: String },
    /// The path of an async function.
    Function(syn::ExprPath),
}

impl Fixture {
    /// Reads a list, or returns all of its mistakes. `function` is the source file of the function.
    pub(super) fn list(list: &[Expr], function: Option<&Path>) -> Result<Vec<Fixture>> {
        let mut fixtures = Vec::with_capacity(list.len());
        let mut mistakes: Option<Error> = None;
        for fixture in list.iter().map(|expr| Fixture::one(expr, function)) {
            match (fixture, &mut mistakes) {
                (Ok(fixture), _) => fixtures.push(fixture),
                (Err(mistake), Some(mistakes)) => mistakes.combine(mistake),
                (Err(mistake), none) => *none = Some(mistake),
            }
        }
        mistakes.map_or(Ok(fixtures), Err)
    }

    fn one(expr: &Expr, function: Option<&Path>) -> Result<Fixture> {
        match bare(expr) {
            Expr::Lit(ExprLit {
                lit: Lit::Str(written),
                ..
            }) => Fixture::file(written.clone(), function),
            Expr::Path(path) => Ok(Fixture::Function(path.clone())),
            other => {
                let message = "a fixture is a file of SQL, `\"bands\"`, or the path of an async function, `seed_bands`";
                Err(Error::new_spanned(other, message))
            }
        }
    }

    /// Reads a file: a bare name is in the folder `fixtures` beside the source file; a name with a `/` is a path from the
    /// source file's folder.
    fn file(written: LitStr, function: Option<&Path>) -> Result<Fixture> {
        let name = written.value();
        let is_sql = Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "sql");
        let path = match (name.contains('/'), is_sql) {
            (true, _) => name,
            (false, true) => format!("fixtures/{name}"),
            (false, false) => format!("fixtures/{name}.sql"),
        };
        // A literal of a `macro_rules!` in another file is included from the folder of the file that calls the macro, which this
        // macro cannot know. Then `include_str!` reports a missing file, as in editors that do not know the source file.
        let source = local_file(written.span());
        if let Some(source) = source
            && function.is_none_or(|function| function == source)
        {
            let file = source.parent().unwrap_or(Path::new("")).join(&path);
            if !file.is_file() {
                return Err(missing(&written, &file));
            }
        }
        Ok(Fixture::File { written, path })
    }
}

/// The source file of a token, which the compiler and some editors know.
pub(crate) fn local_file(token: Span) -> Option<PathBuf> {
    // `unwrap` gives the compiler's own span, which exists when `is_available` is true.
    let file = proc_macro::is_available().then(|| token.unwrap().local_file());
    file.flatten()
}

fn missing(written: &LitStr, file: &Path) -> Error {
    let others = file.parent().map(sql_files).unwrap_or_default();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; the files there are {}", others.join(", "))
    };
    let message = format!("there is no fixture {}{others}", file.display());
    Error::new_spanned(written, message)
}

/// The names of the SQL files of a folder.
fn sql_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.extension().is_some_and(|extension| extension == "sql"))
        .map(|name| format!("`{}`", name.display()))
        .collect();
    names.sort_unstable();
    names
}
