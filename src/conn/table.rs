//! The worker's connections: a slab with generations, and the one place where a socket dies.
//!
//! Closing is cancel → join what is in flight → close → free the slot, written here and nowhere
//! else. A slot is never reused before its operations have reported.
#[allow(missing_docs)]
pub struct ConnTable;
#[allow(missing_docs)]
pub enum Owner {}
