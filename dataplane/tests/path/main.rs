//! The packet path from port to port, with in-memory ports in place of devices.

mod captures;
mod commands;
mod gateway;
mod law;
mod reasons;
mod round_trip;
