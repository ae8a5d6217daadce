//! Up to [`BATCH`] frames, in order.

use std::ops::{Deref, DerefMut};
use std::vec::Drain;

use super::{BATCH, Frame};

/// A batch of frames: a slice of at most [`BATCH`], allocated once.
#[derive(Debug)]
pub struct Frames(Vec<Frame>);

impl Frames {
    /// An empty batch.
    pub fn new() -> Self {
        Self(Vec::with_capacity(BATCH))
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// Gives the frame back if the batch is full.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.0.len() == BATCH {
            return Err(frame);
        }
        self.0.push(frame);
        Ok(())
    }

    /// Takes the last frame.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        self.0.pop()
    }

    /// Takes the first `count` frames, or all if there are fewer; the rest move up.
    #[inline]
    pub fn take_front(&mut self, count: usize) -> Drain<'_, Frame> {
        self.0.drain(..count.min(self.0.len()))
    }

    /// How many more it holds.
    #[inline]
    pub fn room(&self) -> usize {
        BATCH - self.0.len()
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Frames {
    type Target = [Frame];

    #[inline]
    fn deref(&self) -> &[Frame] {
        &self.0
    }
}

impl DerefMut for Frames {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Frame] {
        &mut self.0
    }
}
