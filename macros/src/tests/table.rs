//! The table of settings.

use crate::table::{FOREIGN, TABLE, find, meant};

#[test]
fn every_foreign_name_leads_to_a_setting_of_the_table() {
    for foreign in FOREIGN {
        assert!(find(foreign.ours).is_some(), "{}", foreign.ours);
    }
}

#[test]
fn every_name_stands_in_the_table_once() {
    let ours = TABLE.iter().map(|spec| spec.name);
    let theirs = FOREIGN
        .iter()
        .flat_map(|foreign| foreign.names.iter().copied());
    let mut names: Vec<_> = ours.chain(theirs).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn names_are_compared_by_their_letters() {
    for key in ["maximumPoolSize", "MAXIMUM_POOL_SIZE", "maximum-pool-size"] {
        let hint = meant(key, |_| true).unwrap().hint(key);
        assert_eq!(
            hint,
            format!("what HikariCP calls `{key}` is `max_size` in poolhouse")
        );
    }
    assert_eq!(meant("r#maxSize", |_| true).unwrap().name(), "max_size");
    assert!(meant("colour", |_| true).is_none());
}

/// The runtime gets the table as tokens of this text.
#[test]
fn the_table_is_a_sequence_of_items_without_inner_attributes() {
    let file: syn::File = syn::parse_str(include_str!("../table.rs")).unwrap();
    assert!(file.attrs.is_empty());
    assert!(file.items.len() > 10);
}
