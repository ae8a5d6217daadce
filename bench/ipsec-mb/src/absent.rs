//! What stands for the library where it is not installed: nothing that could be made.

use std::convert::Infallible;

use crate::{Direction, Job, Suite};

/// The library; there is none.
#[derive(Debug)]
pub struct Manager(Infallible);

/// Expanded keys; there are none.
#[derive(Debug)]
pub struct Keys(Infallible);

impl Manager {
    /// `None`: the library was not installed when this was built.
    pub const fn new() -> Option<Self> {
        None
    }

    /// Expands keys.
    pub fn expand<'k>(
        &mut self,
        _suite: Suite,
        _direction: Direction,
        _keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Option<Keys> {
        match self.0 {}
    }

    /// Works a burst.
    pub fn burst<'a>(&mut self, keys: &Keys, _jobs: impl Iterator<Item = Job<'a>>) -> bool {
        match keys.0 {}
    }
}
