//! Identifiers that travel in packets, as types that cannot be taken for one another.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

id!(
    /// Names an ESP security association at its receiver; 0 is never used and 1–255 are reserved (RFC 4303 §2.1).
    Spi(u32), "{:08x}"
);
id!(
    /// Names an L2TP tunnel at its receiver; 0 only before one is assigned (RFC 2661 §3.1).
    TunnelId(u16), "{}"
);
id!(
    /// Names a session within its tunnel at its receiver; 0 only before one is assigned (RFC 2661 §3.1).
    SessionId(u16), "{}"
);
