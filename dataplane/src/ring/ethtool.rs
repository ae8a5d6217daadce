//! The two ethtool requests that AF_XDP needs: how many queues there are, and no unfinished packets on a veth's far end.

use std::ffi::c_void;
use std::io;

use rustix::ioctl::{Updater, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

/// `SIOCETHTOOL` (linux/sockios.h).
const SIOCETHTOOL: rustix::ioctl::Opcode = 0x8946;

/// Commands (linux/ethtool.h).
mod command {
    pub(super) const SET_TX_CHECKSUM: u32 = 0x17;
    pub(super) const SET_TCP_SEGMENTATION: u32 = 0x1f;
    pub(super) const SET_SEGMENTATION: u32 = 0x24;
    pub(super) const GET_CHANNELS: u32 = 0x3c;
}

/// `struct ifreq` with a pointer in its union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    data: *mut c_void,
    rest: [u8; 16],
}

/// Makes the kernel finish checksums and cut segments before it hands packets to `device`.
///
/// AF_XDP on the other end of a veth pair receives what stands in the buffer: without this, packets with half a checksum and packets of
/// 64 KB.
///
/// # Errors
/// The system's error: no privilege, no such device.
pub(crate) fn finish_packets(device: &str) -> io::Result<()> {
    let commands = [
        command::SET_TX_CHECKSUM,
        command::SET_TCP_SEGMENTATION,
        command::SET_SEGMENTATION,
    ];
    commands
        .into_iter()
        .try_for_each(|command| call(device, &mut [command, 0]))
}

/// How many queues of `device` can both receive and send; `None` if its driver does not say.
///
/// # Errors
/// The system's error: no such device.
pub(crate) fn queues(device: &str) -> io::Result<Option<u32>> {
    let mut channels = [0; 9];
    channels[0] = command::GET_CHANNELS;
    match call(device, &mut channels) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
        result => result?,
    }
    let [_, _, _, _, _, rx, tx, _, combined] = channels;
    Ok(Some(combined.saturating_add(rx.min(tx))))
}

/// `words` is the command's structure: the kernel reads and writes as many as the command has.
fn call<const N: usize>(device: &str, words: &mut [u32; N]) -> io::Result<()> {
    let mut name = [0; 16];
    // The last byte stays zero.
    name.get_mut(..device.len().min(16))
        .filter(|_| device.len() < 16)
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(device.as_bytes());
    let mut request = Request {
        name,
        data: words.as_mut_ptr().cast(),
        rest: [0; 16],
    };
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: SIOCETHTOOL takes a `struct ifreq`, which `Request` is.
    let update = unsafe { Updater::<SIOCETHTOOL, _>::new(&mut request) };
    // SAFETY: `data` points to the command's whole structure, alive and borrowed mutably until the call returns.
    unsafe { ioctl(socket, update) }?;
    let Request { rest: _, .. } = request;
    Ok(())
}
