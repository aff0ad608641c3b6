//! What a coverage report counts in a body.

use poolhouse::PgEngine;

#[poolhouse::with_pool(max_size = 3)]
pub async fn count(country: &str, #[pool] db: PgEngine) -> Result<usize, poolhouse::Error> {
    let status = db.status();
    if country.is_empty() {
        return Ok(0);
    }
    let mut bands = 0;
    for letter in country.chars() {
        bands += match letter {
            'a'..='m' => 1,
            _ => step(letter).await?,
        };
    }
    Ok(bands.max(status.size))
}

async fn step(letter: char) -> Result<usize, poolhouse::Error> {
    Ok(letter.len_utf8())
}
