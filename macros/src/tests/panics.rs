//! Whether a test is described as one that passes when it panics.

use super::expand;

/// Whether the test with these attributes is described with `should_panic` and with `any_panic`.
fn panics(attributes: &str) -> (bool, bool) {
    let source = format!("#[with_pool] {attributes} async fn counts(#[pool] db: PgEngine) {{}}");
    let expanded = expand(&source).to_string();
    (
        expanded.contains(". should_panic ()"),
        expanded.contains(". any_panic ()"),
    )
}

#[test]
fn should_panic_is_that_of_the_function() {
    assert_eq!(panics("#[tokio::test]"), (false, false));
    assert_eq!(panics("#[tokio::test] #[should_panic]"), (true, true));
    assert_eq!(panics("#[should_panic] #[tokio::test]"), (true, true));
    let expected = r#"#[tokio::test] #[should_panic(expected = "empty")]"#;
    assert_eq!(panics(expected), (true, false));
    let conditional = "#[tokio::test] #[cfg_attr(unix, should_panic)]";
    assert_eq!(panics(conditional), (true, false));
}

#[test]
fn should_panic_in_front_of_a_case_is_that_of_the_case_only() {
    for case in ["#[case(1)]", "#[case::negative(1)]"] {
        let of_one = format!("#[rstest] #[case(0)] #[should_panic] {case} #[tokio::test]");
        assert_eq!(panics(&of_one), (false, false), "{case}");
        let of_all = format!("#[rstest] #[case(0)] {case} #[should_panic] #[tokio::test]");
        assert_eq!(panics(&of_all), (true, true), "{case}");
    }
    assert_eq!(
        panics("#[rstest] #[should_panic] #[tokio::test]"),
        (true, true)
    );
}
