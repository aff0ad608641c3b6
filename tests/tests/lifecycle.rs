//! The lifecycle: every row of the table in the design, in the positions `main` and lifespan.

mod lifespan;
mod logs;
mod nested;
mod programs;
