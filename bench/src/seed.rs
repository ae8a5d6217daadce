//! Seeds for the generator that all clients draw from.

use std::io;

use crate::failure::Failure;

/// A seed from the system.
///
/// # Errors
/// [`Failure::Io`] if the system has none.
pub(crate) fn random() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Failure::Io(
            "random seed".to_owned(),
            io::Error::other(error.to_string()),
        )
    })?;
    Ok(seed)
}
