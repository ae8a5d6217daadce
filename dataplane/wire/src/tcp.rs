//! TCP, as far as its maximum segment size goes (RFC 9293, RFC 6691).
