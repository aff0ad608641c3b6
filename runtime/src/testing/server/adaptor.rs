//! The operations that differ between databases and need more than one connection.

use std::future::ready;

use super::kind::{CloneName, ConnectionOf, Kind};
use super::leased::Leased;
use super::session::ServerSession;
use super::template::Template;
use crate::error::Error;
use crate::testing::recipe::Recipe;

/// Makes the templates and clones of a kind of database server, and shows that databases are clean.
pub(in crate::testing) trait Adaptor: Kind {
    /// Makes the template of this recipe, in place of an incomplete one. Its lock must be held. A failure leaves nothing.
    fn build(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        fingerprint: &str,
    ) -> impl Future<Output = Result<Self::Content, Error>> + Send;

    /// Makes a clone, over a connection for work that takes long, and tells its name. It is [`DatabaseState::Ready`] when it is
    /// complete. Its lock is held. When this fails, nothing is left.
    fn clone(
        session: &ServerSession<Self>,
        recipe: &Recipe,
        template: &Template<Self>,
        name: &CloneName<'_>,
    ) -> impl Future<Output = Result<String, Error>> + Send;

    /// Marks a kept database as leased, over its kept connection if there is one. Fails when the server was restarted
    /// since, or when another session is known to have been in the database.
    fn begin_lease_of_kept(
        session: &ServerSession<Self>,
        leased: &Leased<Self>,
        kept: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether only the noted sessions were in a leased database, if the server tells, and whatever a rollback does not undo is as
    /// at the lease; else false. `kept` is a cleared
    /// connection to the database, if there is one.
    fn is_alone(
        _: &ServerSession<Self>,
        _: &Leased<Self>,
        _: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        ready(Ok(false))
    }

    /// Undoes changes to a leased database where possible, shows that it equals its template, and marks it as ready; false
    /// when that cannot be shown. `kept` is a cleared connection to the database, if there is one.
    fn clean(
        session: &ServerSession<Self>,
        template: &Template<Self>,
        leased: &mut Leased<Self>,
        kept: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}
