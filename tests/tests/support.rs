//! Tests of the support library, on which all other tests rely.

mod evidence;
mod pooler;
mod programs;
mod proxies;
mod restarts;
