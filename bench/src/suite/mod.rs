//! What can be measured.

pub mod pipeline;
