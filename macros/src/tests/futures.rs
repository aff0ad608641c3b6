//! Parameters that `#[rstest]` gives as futures.

use super::expand;

/// The parameters of the inner function.
fn inner(attributes: &str, parameter: &str) -> String {
    let source = format!(
        "#[with_pool] {attributes} async fn counts({parameter}: u8, #[pool] db: PgEngine) {{}}"
    );
    let expanded = expand(&source).to_string();
    let (_, inner) = expanded
        .split_once("async fn __poolhouse_body")
        .expect("there is an inner function");
    let (parameters, _) = inner.split_once('{').expect("it has a body");
    parameters.trim().to_owned()
}

#[test]
fn a_future_of_rstest_stays_a_future_unless_it_is_awaited() {
    let future = "(n : impl :: core :: future :: Future < Output = u8 > , db : PgEngine)";
    let value = "(n : u8 , db : PgEngine)";
    let rstest = "#[rstest] #[tokio::test]";
    assert_eq!(inner(rstest, "n"), value);
    assert_eq!(inner(rstest, "#[future] n"), future);
    assert_eq!(inner(rstest, "#[case] #[future] n"), future);
    assert_eq!(inner(rstest, "#[future()] n"), future);
    assert_eq!(inner("#[rstest]", "#[future] n"), future);
    assert_eq!(inner(rstest, "#[future(awt)] n"), value);
    let awaited = "#[rstest] #[awt] #[tokio::test]";
    assert_eq!(inner(awaited, "#[future] n"), value);
}
