//! The attribute's facts about a test function.

use std::fmt;
use std::thread;

use crate::settings::{DEFAULT_ENGINE, Migrations};

/// A test function: its name, whether it should panic, and its crate's migrations.
#[derive(Clone, Debug)]
pub struct Test {
    name: &'static str,
    /// The case of a function with several (`rstest`, `test_case`), if it is known.
    case: Option<String>,
    /// The engine, if a database is meant that is not the default engine's.
    engine: Option<String>,
    should_panic: bool,
    any_panic: bool,
    migrations: Migrations,
}

impl Test {
    /// The test of this name, which includes the module's path. Must be called on the thread that the harness runs the test on.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            case: case(name, thread::current().name().unwrap_or_default()),
            engine: None,
            should_panic: false,
            any_panic: false,
            migrations: Migrations::None,
        }
    }

    /// Records that the test carries `#[should_panic]`, and so passes when it panics.
    #[must_use]
    pub fn should_panic(mut self) -> Self {
        self.should_panic = true;
        self
    }

    /// Records that the `#[should_panic]` has no `expected`, and so the test passes with any panic.
    #[must_use]
    pub fn any_panic(mut self) -> Self {
        self.any_panic = true;
        self
    }

    /// Sets the crate's `./migrations`, which are used when no others are set.
    #[must_use]
    pub fn migrations(
        mut self,
        directory: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.migrations = Migrations::Embedded { directory, files };
        self
    }

    /// The same test, of which the database of this engine is meant.
    pub(super) fn on_engine(&self, engine: &str) -> Self {
        let engine = (engine != DEFAULT_ENGINE).then(|| {
            let plain = |c: char| if is_of_name(c) { c } else { '_' };
            engine.chars().map(plain).collect()
        });
        Self {
            engine,
            ..self.clone()
        }
    }

    /// The crate's migrations, which are used when no others are set.
    pub(crate) fn of_crate(&self) -> Migrations {
        self.migrations.clone()
    }

    /// Whether the test passes with any panic.
    pub(crate) fn passes_with_any_panic(&self) -> bool {
        self.any_panic
    }

    /// Whether the test fails, given whether its body panicked or returned an error.
    pub(super) fn fails(&self, body_failed: bool) -> bool {
        body_failed != self.should_panic
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(case) = &self.case {
            write!(f, "::{case}")?;
        }
        if let Some(engine) = &self.engine {
            write!(f, "@{engine}")?;
        }
        Ok(())
    }
}

/// Reads the case from the name of the thread on which libtest runs it: the path of the function in its crate, and the case.
/// `None` when there are no cases, or when all tests run on the main thread.
fn case(name: &str, thread: &str) -> Option<String> {
    let (_, in_crate) = name.split_once("::")?;
    let case = thread.strip_prefix(in_crate)?.strip_prefix("::")?;
    case.chars()
        .all(|c| is_of_name(c) || c == ':')
        .then(|| case.to_owned())
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_has_the_case_and_the_engine() {
        assert_eq!(case("app::bands::adds", "bands::adds"), None);
        assert_eq!(case("app::bands::adds", "bands::adds_two"), None);
        assert_eq!(case("app::bands::adds", "main"), None);
        assert_eq!(case("app::bands::adds", "bands::adds::it's"), None);
        let case = case("app::bands::adds", "bands::adds::case_1");
        assert_eq!(case.as_deref(), Some("case_1"));
        let test = Test {
            case,
            ..Test::new("app::bands::adds")
        };
        assert_eq!(test.to_string(), "app::bands::adds::case_1");
        assert_eq!(test.on_engine("default").to_string(), test.to_string());
        let reports = test.on_engine("the 'reports'");
        assert_eq!(
            reports.to_string(),
            "app::bands::adds::case_1@the__reports_"
        );
    }
}
