//! Runs the quickstart. This test also makes cargo build the program with the workspace's tests.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn it_runs_on_an_empty_folder() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quickstart");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .current_dir(&folder)
        .env_clear()
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
