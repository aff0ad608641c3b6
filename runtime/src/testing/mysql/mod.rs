//! MySQL and MariaDB: databases made by replaying a template's schema, leased by `GET_LOCK`, and used again when they are
//! shown to be clean.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_template` | is a template, or is becoming one |
//! | `poolhouse_<fingerprint>_db_<n>` | is a clone; a test's, or was when its process ended |
//! | …`_done_<incarnation>_<day>` | is empty, and says that the template named before it is complete, until the server is started anew, and when it was last used |
//! | …`_ready_<incarnation>` | is empty, and says that the clone named before it is what its template is, until the server is started anew |
//! | …`_kept_<second>` | is empty, and says that the clone named before it is kept for a person |
//!
//! A database cannot be renamed here, nor carry a comment, so further databases (*marks*) say what there is to be said.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind`, `adaptor` | what differs from other database servers |
//! | `names` | what the names tell |
//! | `queries` | small queries, and what errors say |
//! | `schema` | what a template holds, and statements that make another database like it |
//! | `clean` | showing that a used database is what its template is |

mod adaptor;
mod clean;
mod kind;
mod names;
mod queries;
mod schema;

pub(super) use self::adaptor::test_server;
