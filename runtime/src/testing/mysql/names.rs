//! The names of databases, and their states.

use super::marks::Marks;
use crate::testing::retention::KeptTest;
use crate::testing::server::{
    CloneName, DatabaseState, Found, OF_FINGERPRINT, OF_NUMBER, PREFIX, is_hex,
};

pub(super) fn template(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_template")
}

pub(super) fn clone(name: &CloneName<'_>) -> String {
    format!("{PREFIX}{}_db_{}", name.fingerprint, name.number)
}

/// The test databases, with the states that their names and marks give.
pub(super) fn read(marks: &Marks) -> Vec<Found> {
    let found = marks.names.iter().filter_map(|name| database(name));
    let mut found: Vec<Found> = found.collect();
    for one in &mut found {
        let complete = marks.complete.iter().find(|of| of.database == one.name);
        if let Some(complete) = complete {
            one.state = match one.state {
                DatabaseState::Building => DatabaseState::Template { day: complete.day },
                _ => DatabaseState::Ready {
                    incarnation: complete.incarnation.clone(),
                },
            };
        }
        // The mark of a kept database overrides the other.
        if let Some(kept) = marks.kept.iter().find(|of| of.database == one.name) {
            one.state = DatabaseState::Kept {
                since: kept.since,
                test: KeptTest::parse(&kept.test),
            };
        }
    }
    found
}

/// The test database of a name, in the state that it has without marks; `None` for other names.
fn database(name: &str) -> Option<Found> {
    let words: Vec<&str> = name.strip_prefix(PREFIX)?.split('_').collect();
    let (fingerprint, number, state) = match words.as_slice() {
        [fingerprint, "template"] => (fingerprint, "", DatabaseState::Building),
        [fingerprint, "db", number] if is_hex(number, OF_NUMBER) => {
            (fingerprint, *number, DatabaseState::Leased)
        }
        _ => return None,
    };
    is_hex(fingerprint, OF_FINGERPRINT).then(|| Found {
        name: name.to_owned(),
        fingerprint: (*fingerprint).to_owned(),
        number: number.to_owned(),
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::super::marks::{CompleteMark, KeptMark};
    use super::*;

    #[test]
    fn marks_tell_the_state() {
        let complete = |database: &str| CompleteMark {
            database: database.to_owned(),
            incarnation: "i".to_owned(),
            day: 20000,
        };
        let (a, b) = ("0123456789abcdef", "fedcba9876543210");
        let (template_a, template_b) = (template(a), template(b));
        let [db_1, db_2, db_3] = ["00000001", "00000002", "0000000f"].map(|number| {
            clone(&CloneName {
                fingerprint: a,
                incarnation: "i",
                number,
            })
        });
        let marks = Marks {
            names: [
                &template_a,
                &template_b,
                &db_1,
                &db_2,
                &db_3,
                "poolhouse_dev",
                "poolhouse_dev_notes",
                "poolhouse_marks",
                "poolhouse_app_template",
                "poolhouse_shop_db_1",
                "poolhouse_0123456789abcdef_db_1",
                "poolhouse_0123456789abcdef_db_00000001_old",
                "poolhouse_0123456789abcde_template",
                "poolhouse_0123456789abcdefs01234567_template",
            ]
            .map(str::to_owned)
            .to_vec(),
            complete: [&template_a, &*db_1, &db_3, "gone"].map(complete).into(),
            kept: vec![KeptMark {
                database: db_3.clone(),
                since: 5,
                test: "7f bands".to_owned(),
            }],
        };
        let states: Vec<(String, DatabaseState)> = read(&marks)
            .into_iter()
            .map(|found| (found.name, found.state))
            .collect();
        let expected = [
            (template_a, DatabaseState::Template { day: 20000 }),
            (template_b, DatabaseState::Building),
            (
                db_1,
                DatabaseState::Ready {
                    incarnation: "i".to_owned(),
                },
            ),
            (db_2, DatabaseState::Leased),
            (
                db_3,
                DatabaseState::Kept {
                    since: 5,
                    test: KeptTest::parse("7f bands"),
                },
            ),
        ];
        assert_eq!(states, expected);
    }
}
