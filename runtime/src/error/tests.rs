//! An error returns its cause from `source()`, and does not repeat it in its text.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use super::{AcquireError, Effort, Error, StartError, TransactionError};
use crate::dialect::Diagnosis;
#[cfg(feature = "postgres")]
use crate::dialect::POSTGRES as DIALECT;
use crate::settings::{EngineSettings, Layers, Settings, Sources};

const CAUSE: &str = "the words of the driver";

fn cause() -> sqlx::Error {
    sqlx::Error::Protocol(CAUSE.to_owned())
}

fn settings() -> EngineSettings {
    let code = Settings::new().url("postgres://localhost/bands");
    let layers = Layers::collect(&code, &Sources::of_process().unwrap(), None).unwrap();
    EngineSettings::read(&layers, None).unwrap()
}

fn errors() -> Vec<Error> {
    let settings = settings();
    let diagnosis = Diagnosis::no_answer();
    let tries = Effort {
        attempts: 2,
        took: Duration::from_secs(1),
    };
    let connect = StartError::connect(
        &settings,
        &DIALECT,
        &diagnosis,
        tries,
        Some(Arc::new(cause())),
    );
    vec![
        AcquireError::connect(&settings, &diagnosis, cause()).into(),
        connect.into(),
        StartError::migrations(&settings, Some("1_bands.sql"), cause()).into(),
    ]
}

#[test]
fn a_cause_is_the_source_and_not_in_the_text() {
    for error in errors() {
        let source = error.source().expect("it has a cause");
        assert!(source.to_string().contains(CAUSE), "{error}");
        assert!(!error.to_string().contains(CAUSE), "{error}");
        let shown = format!("{error:?}");
        assert_eq!(shown.matches(CAUSE).count(), 1, "{shown}");
    }
    let unknown = TransactionError::outcome_unknown("bands", cause());
    assert!(unknown.source().unwrap().to_string().contains(CAUSE));
    assert!(!unknown.to_string().contains(CAUSE), "{unknown}");
}

#[test]
fn an_error_without_a_cause_has_no_source() {
    let settings = settings();
    for error in [
        Error::from(AcquireError::closed(&settings)),
        StartError::cancelled(&settings).into(),
    ] {
        assert!(error.source().is_none(), "{error}");
    }
}
