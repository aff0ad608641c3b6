//! The room that a server has for sessions.

/// The room that a server has for sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// All sessions of users that are not privileged.
    pub(crate) server: Option<u64>,
    /// Those of this database.
    pub(crate) database: Option<u64>,
    /// Those of this user.
    pub(crate) user: Option<u64>,
    /// Sessions of others that are there now.
    pub(crate) others: u64,
    /// Sessions of this application that are there now, without the one that asks.
    pub(crate) ours: u64,
    /// From how many addresses these come.
    pub(crate) addresses: u64,
}

impl Room {
    /// Reads six numbers with spaces between, in the order of the fields; a limit below 1 is none.
    pub(crate) fn read(answer: &str) -> Option<Self> {
        let mut numbers = answer.split(' ').map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let (server, database, user) = (next()?, next()?, next()?);
        let limit = |limit: i64| u64::try_from(limit).ok().filter(|limit| *limit > 0);
        let mut count = || u64::try_from(next()?).ok();
        Some(Self {
            server: limit(server),
            database: limit(database),
            user: limit(user),
            others: count()?,
            ours: count()?,
            addresses: count()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn six_numbers_are_the_room_of_a_server() {
        let room = Room {
            server: Some(97),
            database: None,
            user: Some(5),
            others: 12,
            ours: 3,
            addresses: 1,
        };
        assert_eq!(Room::read("97 -1 5 12 3 1"), Some(room));
        assert_eq!(Room::read("97 -1 5 12 3"), None);
        assert_eq!(Room::read("97 -1 5 12 x 1"), None);
    }
}
