//! Every file in `snapshots/` shows a function and what it expands to. `POOLHOUSE_SNAPSHOTS=update` rewrites them.

use super::expand;
use std::path::Path;

const EXPANDS_TO: &str = "\n// expands to\n\n";

#[test]
fn every_snapshot_is_what_the_attribute_expands_to() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let update = std::env::var("POOLHOUSE_SNAPSHOTS").is_ok_and(|wish| wish == "update");
    let mut seen = 0;
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(&directory).expect("the directory of snapshots is there") {
        let path = entry
            .expect("the directory of snapshots is readable")
            .path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        seen += 1;
        let recorded = std::fs::read_to_string(&path).expect("a snapshot is readable");
        let source = recorded
            .split(EXPANDS_TO)
            .next()
            .unwrap_or_default()
            .trim_end();
        let current = format!("{source}\n{EXPANDS_TO}{}", readable(source));
        if current != recorded {
            if update {
                std::fs::write(&path, &current).expect("a snapshot is writable");
            }
            stale.push(format!("{}:\n{current}", path.display()));
        }
    }
    // A file with another ending would never be compared.
    assert_eq!(seen, 29, "snapshots in {}", directory.display());
    assert!(
        stale.is_empty(),
        "these snapshots are stale; `POOLHOUSE_SNAPSHOTS=update` rewrites them:\n{}",
        stale.join("\n")
    );
}

fn readable(source: &str) -> String {
    let file = syn::parse2(expand(source)).expect("an expansion is valid Rust");
    prettyplease::unparse(&file)
}
