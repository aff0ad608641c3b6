//! Names of databases: what each is for, and in what state.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_building` | is becoming a template, or was when its builder was killed |
//! | `poolhouse_<fingerprint>_template` | is complete and never changes |
//! | `poolhouse_<fingerprint>_ready_<n>` | is a copy that no test has seen |
//! | `poolhouse_<fingerprint>_lease_<xid>` | is or was a test's, since this transaction of the server |
//! | `poolhouse_<fingerprint>_reset_<xid>_<n>` | is on its way back from there; the test does not know this name |
//! | `poolhouse_<fingerprint>_shared` | is a copy for tests that roll back |

/// What the names of all test databases begin with.
pub(super) const PREFIX: &str = "poolhouse_";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Building,
    Template,
    Ready,
    /// In use or used since this transaction.
    Used(u64),
    Shared,
}

pub(super) fn building(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_building")
}

pub(super) fn template(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_template")
}

pub(super) fn ready_prefix(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_ready_")
}

pub(super) fn ready(fingerprint: &str) -> String {
    format!("{}{:08x}", ready_prefix(fingerprint), fastrand::u32(..))
}

pub(super) fn lease(fingerprint: &str, xid: u64) -> String {
    format!("{PREFIX}{fingerprint}_lease_{xid}")
}

pub(super) fn reset(fingerprint: &str, xid: u64) -> String {
    format!(
        "{PREFIX}{fingerprint}_reset_{xid}_{:08x}",
        fastrand::u32(..)
    )
}

pub(super) fn shared(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_shared")
}

/// The fingerprint and the state that a name tells; `None` when it is not one of ours.
pub(super) fn parse(name: &str) -> Option<(&str, State)> {
    let (fingerprint, rest) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let mut words = rest.split('_');
    let state = match (words.next()?, words.next()) {
        ("building", None) => State::Building,
        ("template", None) => State::Template,
        ("shared", None) => State::Shared,
        ("ready", Some(_)) => State::Ready,
        ("lease" | "reset", Some(xid)) => State::Used(xid.parse().ok()?),
        _ => return None,
    };
    Some((fingerprint, state))
}

/// What the comment on a database begins with that was made clean without another name, and the transaction of that.
const CLEAN: &str = "poolhouse clean ";

/// The comment on a database whose changes up to this transaction are undone.
pub(super) fn clean_comment(xid: u64) -> String {
    format!("{CLEAN}{xid}")
}

/// The transaction since which nobody has undone changes, as name and comment tell.
pub(super) fn used_since(name: &str, comment: Option<&str>) -> Option<u64> {
    let (_, State::Used(leased)) = parse(name)? else {
        return None;
    };
    let clean = comment.and_then(|comment| comment.strip_prefix(CLEAN)?.parse().ok());
    Some(clean.map_or(leased, |clean: u64| clean.max(leased)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_state() {
        let print = "0123456789abcdef";
        let state = |name: &str| parse(name).map(|(of, state)| (of.to_owned(), state));
        let told = |state| Some((print.to_owned(), state));
        assert_eq!(state(&building(print)), told(State::Building));
        assert_eq!(state(&template(print)), told(State::Template));
        assert_eq!(state(&shared(print)), told(State::Shared));
        assert_eq!(state(&ready(print)), told(State::Ready));
        assert_eq!(state(&lease(print, 7)), told(State::Used(7)));
        assert_eq!(state(&reset(print, 7)), told(State::Used(7)));
        let used = lease(print, 7);
        let clean = |xid| Some(clean_comment(xid));
        assert_eq!(used_since(&used, None), Some(7));
        assert_eq!(used_since(&used, clean(9).as_deref()), Some(9));
        // The comment is of the time before the lease.
        assert_eq!(used_since(&used, clean(5).as_deref()), Some(7));
        assert_eq!(used_since(&ready(print), clean(9).as_deref()), None);
        for other in [
            "postgres",
            "poolhouse",
            "poolhouse_dev",
            "poolhouse_a_lease_x",
        ] {
            assert_eq!(state(other), None, "{other}");
        }
    }
}
