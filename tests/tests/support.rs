//! The support library itself: a test that stands on it must be able to trust it.

mod evidence;
mod pooler;
mod programs;
mod proxies;
mod restarts;
