//! SQL conditions for the objects that belong to the content of a database.

/// The condition for schemas of the content: temporary schemas stay when their session has ended, and do not count.
pub(super) const NAMESPACES: &str = "nspname !~ '^pg_(toast_)?temp_'";

/// The condition for schemas that are not the server's own.
pub(super) const OF_USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// The lowest OID of an object that is not the server's own:
/// <https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT>.
pub(super) const FIRST_OF_USERS: u32 = 16384;

/// An SQL expression for whether the database has functions of PL/pgSQL. A session keeps their compiled form, with the types to
/// which the names in it led on the search path of the first call.
pub(super) const COMPILED: &str = "EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'plpgsql')";
