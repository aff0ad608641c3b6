//! Whose database is kept: `POOLHOUSE_KEEP`.

/// The variable that says whose database is kept.
const VARIABLE: &str = "POOLHOUSE_KEEP";

/// Whether the database of a test that has ended is kept.
pub(super) fn is_kept(failed: bool) -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("all") => true,
        Ok("none") => false,
        Err(_) | Ok("" | "failed") => failed,
        Ok(other) => {
            // Not an error: that would fail tests which have passed.
            eprintln!(
                "poolhouse: {VARIABLE}={other} is neither all, failed nor none; it counts as failed"
            );
            failed
        }
    }
}
