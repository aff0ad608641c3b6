//! SQLite.

use super::questions::{How, Inspection, Rights};

pub(in crate::dialect) static SQLITE: Inspection = Inspection {
    room: None,
    timeouts: &[],
    // A `BEGIN IMMEDIATE` also succeeds on a read-only file, so a table is created and rolled back:
    // <https://www.sqlite.org/lang_transaction.html>.
    rights: Rights {
        how: How::Tried("BEGIN IMMEDIATE; CREATE TABLE poolhouse_check (id INTEGER); ROLLBACK"),
        cure: "Let this user write to the file and its folder, without mode=ro in the url, and let no other program lock it",
    },
    is_no_table: |code, message| code == Some("1") && message.starts_with("no such table"),
};
