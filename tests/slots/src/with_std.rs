//! The files of the pool, with the locks of `std`.

#[path = "../../../runtime/src/pool/deadline.rs"]
pub(crate) mod deadline;
#[path = "../../../runtime/src/pool/queue.rs"]
pub(crate) mod queue;
#[path = "../../../runtime/src/pool/slots.rs"]
pub(crate) mod slots;
#[path = "../../../runtime/src/pool/sync.rs"]
pub(crate) mod sync;
