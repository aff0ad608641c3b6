//! The session limits and counts of a server.

/// The session limits and counts of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// The limit for all sessions of unprivileged users.
    pub(crate) server: Option<u64>,
    /// The limit for sessions of this database.
    pub(crate) database: Option<u64>,
    /// The limit for sessions of this user.
    pub(crate) user: Option<u64>,
    /// The number of current sessions of others.
    pub(crate) others: u64,
    /// The number of current sessions of this application, without the asking one.
    pub(crate) ours: u64,
    /// The number of addresses that these sessions come from.
    pub(crate) addresses: u64,
}

impl Room {
    /// Parses six numbers, separated by spaces, in the order of the fields; a limit below 1 means none.
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
