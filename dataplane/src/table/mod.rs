//! The rows of one core: preallocated, owned by its worker alone, changed only by control's commands.

pub mod index;
pub mod replay;
pub mod sa;
pub mod session;
pub mod set;
