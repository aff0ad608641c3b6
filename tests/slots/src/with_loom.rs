//! The files of the pool, with the locks of the model checker.

#[path = "../../../runtime/src/pool/queue.rs"]
pub(crate) mod queue;
#[path = "../../../runtime/src/pool/slots.rs"]
pub(crate) mod slots;

pub(crate) mod sync {
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
}
