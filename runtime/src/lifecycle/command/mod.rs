//! `POOLHOUSE_RUN`: what an attributed `main` does instead of its body.
//!
//! | file | what it holds |
//! |---|---|
//! | `asked` | the command, from the environment |
//! | `answer` | the result, as data |
//! | `text` | the result for people |
//! | `carry_out` | runs the command and reports the result |

mod answer;
mod asked;
mod carry_out;
mod text;

pub(super) use self::asked::Command;
