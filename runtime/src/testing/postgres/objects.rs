//! SQL conditions for the objects that belong to the content of a database.

/// The condition for schemas of the content: temporary schemas stay when their session has ended, and do not count.
pub(super) const NAMESPACES: &str = "nspname !~ '^pg_(toast_)?temp_'";

/// The condition for schemas that are not the server's own.
pub(super) const OF_USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// The lowest OID of an object that is not the server's own:
/// <https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT>.
pub(super) const FIRST_OF_USERS: u32 = 16384;

/// An SQL expression for whether the database has functions of PL/pgSQL. A session keeps their compiled form, with the types to
/// which the names in it led at the first call.
pub(super) const COMPILED: &str = "EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'plpgsql')";

/// An SQL condition for the types `t` that a compiled function may keep after their name leads to another type. The name may have led
/// to them on another search path, or in a transaction that has renamed types and was rolled back. The row type of a table counts
/// only if it has a namesake, because the server looks such types up again after a change.
pub(super) const STAYS_COMPILED: &str = "(t.typtype IN ('d', 'e', 'r', 'm') \
    OR t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid) \
    OR EXISTS (SELECT FROM pg_type other WHERE other.typname = t.typname AND other.oid <> t.oid))";

/// An SQL expression for whether a function of PL/pgSQL may name the type of a column (`%TYPE`), or an array of row types. These are
/// not looked up again after a transaction that has renamed tables and was rolled back.
pub(super) const NAMES_COLUMNS: &str = "EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
    WHERE l.lanname = 'plpgsql' AND p.prosrc ~* '%(.*[^w])?type|[[]|array')";
