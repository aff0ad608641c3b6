//! The forms in which a value may be written, the same in every source.
//!
//! The environment has only strings, so every form can be read from a string. The file and the code may also use the
//! number, the boolean or the array.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::secrets::{HIDDEN, conceal, show_sql, show_url, show_value};
use super::table::{MOST_CONNECTIONS, MOST_THREADS};
use super::value::Value;

/// A type that values of settings are read into.
pub(super) trait Form: Clone + Send + Sync + 'static {
    /// What may be written, in words that complete "expected …".
    const ACCEPTS: &'static str;

    /// The value, or `None` when it is not in an accepted form.
    fn read(value: &Value) -> Option<Self>;

    /// The value as logs and errors show it.
    fn show(&self) -> String;
}

/// The raw value of a setting as errors show it, in any form and without secrets.
pub(super) fn show_raw(setting: &str, value: &Value) -> String {
    match value {
        Value::Text(text) => match setting {
            "url" | "direct_url" => format!("{:?}", show_url(text)),
            "session" => show_sql(text),
            "application_name" | "migrations" | "extensions" => format!("{:?}", conceal(text)),
            // A name, a number, a time or a word; any other text may be a secret.
            _ => match show_value(text) {
                HIDDEN => HIDDEN.to_owned(),
                text => format!("{text:?}"),
            },
        },
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::InCode => "nothing".to_owned(),
        Value::Table => "a table".to_owned(),
        Value::List(values) => {
            let shown: Vec<_> = values
                .iter()
                .map(|value| show_raw(setting, value))
                .collect();
            format!("[{}]", shown.join(", "))
        }
    }
}

impl Form for u32 {
    const ACCEPTS: &'static str = "a whole number from 0 to 4294967295";

    fn read(value: &Value) -> Option<Self> {
        value.to_integer()?.try_into().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Form for bool {
    const ACCEPTS: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        value.to_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Form for String {
    const ACCEPTS: &'static str = "a string";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn show(&self) -> String {
        format!("{:?}", conceal(self))
    }
}

impl Form for Vec<String> {
    const ACCEPTS: &'static str =
        "an array of strings, or one string with commas between the names";

    fn read(value: &Value) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            );
        }
        value.as_list()?.iter().map(String::read).collect()
    }

    fn show(&self) -> String {
        // Checked together, because a URL with commas may have been split.
        let together = self.join(",");
        if conceal(&together) == together {
            format!("{self:?}")
        } else {
            format!("[{HIDDEN}]")
        }
    }
}

/// SQL that is run on new connections.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SessionSql(String);

impl SessionSql {
    /// The SQL; `None` when it is empty, which takes back that of a weaker source.
    pub(super) fn sql(self) -> Option<String> {
        Some(self.0).filter(|sql| !sql.trim().is_empty())
    }
}

impl Form for SessionSql {
    const ACCEPTS: &'static str = "SQL as a string";

    fn read(value: &Value) -> Option<Self> {
        String::read(value).map(Self)
    }

    fn show(&self) -> String {
        match self.clone().sql() {
            Some(sql) => show_sql(&sql),
            None => "none".to_owned(),
        }
    }
}

/// A number of connections, at least `LEAST`.
#[derive(Clone, Copy)]
pub(super) struct Connections<const LEAST: u32>(pub(super) u32);

impl<const LEAST: u32> Form for Connections<LEAST> {
    const ACCEPTS: &'static str = match LEAST {
        0 => "a whole number from 0 to 262143",
        _ => "a whole number from 1 to 262143",
    };

    fn read(value: &Value) -> Option<Self> {
        u32::read(value)
            .filter(|number| (LEAST..=MOST_CONNECTIONS).contains(number))
            .map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// The threads of a runtime.
#[derive(Clone, Copy)]
pub(super) struct Threads(pub(super) NonZeroUsize);

impl Form for Threads {
    const ACCEPTS: &'static str = "a whole number from 1 to 1024";

    fn read(value: &Value) -> Option<Self> {
        let number = u32::read(value).filter(|number| *number <= MOST_THREADS)?;
        NonZeroUsize::new(number as usize).map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// The longest duration. Longer ones are cut to it, because clocks overflow when they are added to the present.
pub(super) const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

impl Form for Duration {
    const ACCEPTS: &'static str =
        "a duration with its unit, such as \"30s\", \"500ms\" or \"1m 30s\"";

    fn read(value: &Value) -> Option<Self> {
        let written = humantime::parse_duration(value.as_str()?.trim()).ok()?;
        Some(written.min(LONGEST))
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

/// A duration above zero.
#[derive(Clone, Copy)]
pub(super) struct Positive(pub(super) Duration);

impl Form for Positive {
    const ACCEPTS: &'static str =
        "a duration above zero with its unit, such as \"30s\", \"500ms\" or \"1m 30s\"";

    fn read(value: &Value) -> Option<Self> {
        Duration::read(value)
            .filter(|duration| !duration.is_zero())
            .map(Self)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// A time limit that can be switched off.
///
/// Zero is refused: in some pools it means "never" and in others "at once".
#[derive(Clone, Copy)]
pub(super) struct OptionalLimit(pub(super) Option<Duration>);

impl Form for OptionalLimit {
    const ACCEPTS: &'static str =
        "a duration above zero with its unit, such as \"30s\" or \"10m\", or \"off\"";

    fn read(value: &Value) -> Option<Self> {
        if value.as_str()?.trim().eq_ignore_ascii_case("off") {
            return Some(Self(None));
        }
        Duration::read(value)
            .filter(|duration| !duration.is_zero())
            .map(|duration| Self(Some(duration)))
    }

    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| "off".to_owned(), Form::show)
    }
}
