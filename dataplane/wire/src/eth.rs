//! Ethernet II with up to two VLAN tags (IEEE 802.1Q).
