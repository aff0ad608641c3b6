//! `cargo run --example quickstart`, which runs `../quickstart/main.rs`.
//!
//! Without `-p`, cargo enables the features that any member of the workspace uses, so that the quickstart would build every
//! driver of the tests. This program has no dependencies, and runs cargo for the quickstart's package alone. It can be deleted
//! when cargo's setting `resolver.feature-unification = "package"` is stable.

use std::env;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--package", "poolhouse-quickstart"]);
    cargo.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.arg("--").args(env::args_os().skip(1));
    become_it(cargo)
}

/// Replaces this process by the program, so that signals reach it.
#[cfg(unix)]
fn become_it(mut cargo: Command) -> ExitCode {
    use std::os::unix::process::CommandExt as _;

    let error = cargo.exec();
    eprintln!("cargo cannot be run: {error}");
    ExitCode::FAILURE
}

#[cfg(not(unix))]
fn become_it(mut cargo: Command) -> ExitCode {
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
