//! `migrations = "directory"`: the directory is listed while the attribute is expanded.

use std::path::{Path, PathBuf};
use syn::{Error, LitStr, Result};

/// The SQL files of a directory of migrations, to be embedded in the program.
pub(crate) struct Directory {
    /// The path as the user wrote it.
    pub(crate) written: LitStr,
    /// Names of the files, sorted by name. The driver sorts the migrations by their versions.
    pub(crate) files: Vec<String>,
    /// Whether `sqlx.toml` is beside the manifest. It may name another table for applied migrations.
    pub(crate) has_sqlx_toml: bool,
}

impl Directory {
    /// Lists the directory, which is relative to the manifest of the crate that uses the attribute.
    pub(crate) fn list(written: LitStr) -> Result<Directory> {
        let manifest = manifest_directory(&written)?;
        let files = sql_files(&manifest.join(written.value()), &written)?;
        Ok(Directory {
            written,
            files,
            has_sqlx_toml: manifest.join("sqlx.toml").is_file(),
        })
    }

    /// The directory `migrations` beside the manifest, which a test runs by default; `None` when there is none.
    pub(crate) fn of_crate() -> Option<Directory> {
        let written = LitStr::new("migrations", proc_macro2::Span::call_site());
        let there = manifest_directory(&written).ok()?.join(written.value());
        if there.is_dir() {
            Directory::list(written).ok()
        } else {
            None
        }
    }

    /// Whether the written path is absolute, and not relative to the manifest.
    pub(crate) fn is_absolute(&self) -> bool {
        Path::new(&self.written.value()).is_absolute()
    }
}

fn manifest_directory(written: &LitStr) -> Result<PathBuf> {
    // Cargo sets the variable for every compiler that it runs, and so does rust-analyzer. It is read here and not in the
    // expansion, because the files must be known before the compiler sees them.
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or_else(|| {
        let message = "`migrations` is relative to the crate's manifest, but `CARGO_MANIFEST_DIR` is not set; build with cargo";
        Error::new_spanned(written, message)
    })
}

fn sql_files(directory: &Path, written: &LitStr) -> Result<Vec<String>> {
    let unreadable = |error: std::io::Error| {
        let message = format!(
            "cannot read the directory of migrations {}: {error}",
            directory.display()
        );
        Error::new_spanned(written, message)
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                let message = format!("the name of the migration {} is not UTF-8", path.display());
                Error::new_spanned(written, message)
            })?;
        files.push(name.to_owned());
    }
    files.sort_unstable();
    Ok(files)
}
