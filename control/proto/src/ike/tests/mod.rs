//! Whole exchanges under virtual time, spoilt messages, and captured ones.

mod bounds;
mod captured;
mod client;
mod clients;
mod exchanges;
mod hostile;
mod lifecycle;
mod network;
mod world;
