//! The lock types of [`slots`](super::slots). Its model checker replaces them.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
