//! `POOLHOUSE_RUN`: what an attributed `main` does instead of its body.
//!
//! | file | what it holds |
//! |---|---|
//! | `asked` | what the environment asks for |
//! | `answer` | what came of it, as data |
//! | `text` | the answer for people |
//! | `carry_out` | carries it out, and says how it went |

mod answer;
mod asked;
mod carry_out;
mod text;

pub(super) use self::asked::Command;
