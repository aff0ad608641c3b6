//! What differs from database to database, and takes more than one connection.

use super::kind::{CloneName, ConnectionOf, Kind};
use super::leased::Leased;
use super::session::ServerSession;
use super::template::Template;
use crate::error::Error;
use crate::testing::recipe::Recipe;

/// How templates and clones of a kind of database server are made, and shown to be clean.
pub(in crate::testing) trait Adaptor: Kind {
    /// Makes the template of this recipe, in place of an incomplete one. Its lock is held. When this fails, nothing is left.
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

    /// Marks a clean database that this process has kept as leased, over the connection that was kept with it where there is
    /// one. Fails when the server was started anew since.
    fn begin_lease_of_kept(
        session: &ServerSession<Self>,
        leased: &Leased<Self>,
        kept: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Whether nobody has been in a leased database but those that are noted; `kept` is a cleared connection into it, where
    /// there is one.
    fn is_alone(
        session: &ServerSession<Self>,
        leased: &Leased<Self>,
        kept: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Shows that a leased database is what its template is, after undoing what can be undone, and marks it as ready; false
    /// when that cannot be shown. `kept` is a cleared connection into it, where there is one.
    fn clean(
        session: &ServerSession<Self>,
        template: &Template<Self>,
        leased: &mut Leased<Self>,
        kept: Option<&mut ConnectionOf<Self>>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}
