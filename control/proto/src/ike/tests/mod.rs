//! Whole exchanges under virtual time, spoilt messages, and captured ones.

mod captured;
mod client;
mod exchanges;
mod hostile;
mod lifecycle;
mod network;
mod world;
