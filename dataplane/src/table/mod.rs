//! The rows of one core: preallocated, owned by its worker alone, changed only by control's commands.

pub mod index;
pub mod replay;
