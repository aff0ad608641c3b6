//! A place, the connection in it, and what the pool knows of that connection.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use deadpool::managed::{self, Manager, Metrics, Object, RecycleResult};

use super::connector::Opened;
use super::status::Card;
use super::yard::Yard;
use crate::backend::Backend;
use crate::background;

/// The right to have one session on the server.
///
/// A place in the pool's queue always holds a connection; one that is newly handed out may still be empty.
///
/// Boxed, because it is moved from hand to hand at every checkout.
pub(super) struct Place<DB: Backend>(pub(super) Option<Box<Filled<DB>>>);

impl<DB: Backend> Place<DB> {
    /// The connection in a place that is in use.
    pub(super) fn filled(&self) -> &Filled<DB> {
        match &self.0 {
            Some(filled) => filled,
            None => unreachable!("only filled places are handed out"),
        }
    }

    pub(super) fn filled_mut(&mut self) -> &mut Filled<DB> {
        match &mut self.0 {
            Some(filled) => filled,
            None => unreachable!("only filled places are handed out"),
        }
    }
}

/// A place while a task has it, out of the queue. Dropping it puts the place back, so only a filled one is dropped;
/// an empty one is given up with [`give_up`].
pub(super) type Held<DB> = Object<Places<DB>>;

/// deadpool's manager: it makes empty places and trusts the ones in the queue. Opening and checking connections is the
/// pool's own work, in tasks of its own, because deadpool would do it in the caller's future, which may be dropped.
pub(super) struct Places<DB>(PhantomData<fn() -> DB>);

impl<DB> Places<DB> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<DB: Backend> Manager for Places<DB> {
    type Type = Place<DB>;
    type Error = Infallible;

    async fn create(&self) -> Result<Place<DB>, Infallible> {
        Ok(Place(None))
    }

    async fn recycle(&self, _: &mut Place<DB>, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}

/// Gives up an empty place, so that the next one in need makes its own. The queue holds filled places only: with an
/// empty one on top, a new connection would be opened although others are idle.
pub(super) fn give_up<DB: Backend>(held: Held<DB>) {
    drop(managed::Object::take(held));
}

/// A connection in its place.
pub(super) struct Filled<DB: Backend> {
    /// `None` only once `Drop` or [`Filled::into_connection`] took it.
    connection: Option<DB::Connection>,
    pub(super) card: Arc<Card>,
    /// When `max_lifetime`, with this connection's jitter, is over.
    pub(super) expires: Option<Instant>,
    /// The pool's generation when the connection was opened; [`super::Pool::evict`] starts a new one.
    pub(super) generation: u64,
    /// When it was last known to be good and idle.
    pub(super) idle_since: Instant,
    yard: Arc<Yard<DB>>,
}

impl<DB: Backend> Filled<DB> {
    pub(super) fn new(opened: Opened<DB>, yard: &Arc<Yard<DB>>) -> Self {
        let now = Instant::now();
        let session = opened.session.clone();
        Self {
            connection: Some(opened.take()),
            card: yard.register.add(session, &yard.meters, yard.tasks.token()),
            expires: yard.jittered_lifetime().map(|lifetime| now + lifetime),
            generation: yard.generation(),
            idle_since: now,
            yard: Arc::clone(yard),
        }
    }

    pub(super) fn parts(&self) -> (&DB::Connection, &Arc<Card>) {
        match &self.connection {
            Some(connection) => (connection, &self.card),
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    pub(super) fn parts_mut(&mut self) -> (&mut DB::Connection, &Arc<Card>) {
        match &mut self.connection {
            Some(connection) => (connection, &self.card),
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    pub(super) fn connection_mut(&mut self) -> &mut DB::Connection {
        self.parts_mut().0
    }

    /// The pool's yard, where it was opened.
    pub(super) fn yard(&self) -> &Arc<Yard<DB>> {
        &self.yard
    }

    /// Notes that nobody has it any more, and that it is good.
    pub(super) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
        self.card.put_back(now);
    }

    /// Whether it may be handed out as it is: not retired, and known to be good a moment ago.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.is_retired(now) && !self.yard.wants_validation(self.idle_since, now)
    }

    /// Whether its time is over: by age, or by [`super::Pool::evict`].
    pub(super) fn is_retired(&self, now: Instant) -> bool {
        self.generation != self.yard.generation()
            || self.expires.is_some_and(|expires| expires <= now)
    }

    /// Says goodbye to the server and waits for it, within the goodbye's limit.
    pub(super) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            self.yard.connector.goodbye(connection).await;
        }
    }
}

impl<DB: Backend> Drop for Filled<DB> {
    /// Rule 4: whichever way a connection leaves, the server hears a goodbye. This is the way of connections that
    /// deadpool lets go of while the pool closes or shrinks.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let yard = Arc::clone(&self.yard);
            let card = Arc::clone(&self.card);
            self.yard.spawn(background::track(async move {
                yard.connector.goodbye(connection).await;
                drop(card);
            }));
        }
    }
}
