//! A program that depends on poolhouse under another name.

use std::path::Path;

use crate::project::Project;

#[test]
fn a_renamed_dependency_is_found_through_the_setting_crate() {
    let mut project = Project::with_dependency("renamed", "pools");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/renamed/main.rs");
    project.program("renamed", &path);
    let said = project.run("check");
    let said: Vec<&str> = said["renamed"].iter().map(|said| &*said.rendered).collect();
    assert!(said.is_empty(), "{}", said.concat());
}
