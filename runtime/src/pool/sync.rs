//! The locks of [`slots`](super::slots). Its model checker puts others in their place.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
