//! Medians, so that one disturbed round does not change the result.

/// The middle of the values.
///
/// # Panics
///
/// When there are no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
