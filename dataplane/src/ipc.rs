//! Typed messages between our processes over Unix seqpacket sockets.
//!
//! ```text
//! datagram   version (2, little-endian) │ kind (1) │ message │ message │ …       1 to MAX_DATAGRAM bytes
//! message    postcard
//! beside it  file descriptors (SCM_RIGHTS), at most MAX_FDS
//! ```
//! A [`Sender`] gathers messages into datagrams and never blocks its caller: what the socket does not take waits in a queue of
//! bounded size, and a full queue refuses. A datagram that does not decode is an error of the connection, which is then dropped.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;
use zeroize::{Zeroize, Zeroizing};

use crate::api::{self, Answer, Punt, Request};

/// Largest datagram in bytes.
pub const MAX_DATAGRAM: usize = 64 * 1024;
/// Most messages in one datagram.
pub const MAX_MESSAGES: usize = 4_096;
/// Most file descriptors beside one datagram.
pub const MAX_FDS: usize = 32;

/// A datagram is closed to further messages once it is this long, in bytes.
const FULL: usize = 16 * 1024;
/// Socket buffer asked for, in bytes; the default takes some 160 small messages.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const HEADER: usize = 3;

/// A type of message that a socket carries.
pub trait Message: Serialize + DeserializeOwned {
    /// Tells the types apart on the wire.
    const KIND: u8;
}

impl Message for Request {
    const KIND: u8 = 1;
}

impl Message for Answer {
    const KIND: u8 = 2;
}

impl Message for Punt {
    const KIND: u8 = 3;
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum IpcError {
    /// The socket failed.
    Io(io::Error),
    /// The datagram is of another version of the messages.
    Version(u16),
    /// The datagram holds another type of message.
    Kind(u8),
    /// The datagram or its descriptors were longer than the bounds.
    TooLong,
    /// The datagram ends within its header, or a message does not decode.
    Malformed,
}

impl fmt::Display for IpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Version(version) => {
                write!(f, "message version {version}, ours is {}", api::VERSION)
            }
            Self::Kind(kind) => write!(f, "message kind {kind} on the wrong socket"),
            Self::TooLong => f.write_str("datagram beyond the bounds"),
            Self::Malformed => f.write_str("malformed message"),
        }
    }
}

impl std::error::Error for IpcError {}

impl From<io::Error> for IpcError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for IpcError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The queue holds as much as it may.
    Full,
    /// The message alone is longer than a datagram, or has too many descriptors.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "send queue full",
            Self::TooLong => "message longer than a datagram",
        })
    }
}

impl std::error::Error for SendError {}

/// Makes a connected pair of seqpacket sockets with large buffers.
///
/// # Errors
/// What the system says, such as too many open files.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    for end in [&a, &b] {
        // Beyond the system's maximum only with privilege; without, the maximum has to do.
        if sockopt::set_socket_send_buffer_size_force(end, SOCKET_BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(end, SOCKET_BUFFER)?;
        }
    }
    Ok((a, b))
}

/// Takes `socket` into use in both directions; `queue_bytes` bounds what waits to be sent.
///
/// # Errors
/// What the system says when the descriptor is not a socket or cannot be watched.
pub fn channel<Out: Message, In: Message>(
    socket: OwnedFd,
    queue_bytes: usize,
) -> io::Result<(Sender<Out>, Receiver<In>)> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let socket = Arc::new(watched(socket)?);
    Ok((
        Sender {
            socket: Arc::clone(&socket),
            scratch: Zeroizing::new(vec![0; MAX_DATAGRAM - HEADER]),
            queue: VecDeque::new(),
            spare: None,
            queued_bytes: 0,
            queue_bytes,
            messages: PhantomData,
        },
        Receiver {
            socket,
            buffer: Zeroizing::new(vec![0; MAX_DATAGRAM]),
            messages: PhantomData,
        },
    ))
}

/// Watches a descriptor for readiness; inside a Tokio runtime.
pub(crate) fn watched<T: AsRawFd + From<OwnedFd>>(fd: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; what is made of an OwnedFd keeps it open for as long as it is registered"
    )]
    AsyncFd::new(fd)
}

type Buffer = Zeroizing<Vec<u8>>;

struct Datagram {
    bytes: Buffer,
    messages: usize,
    fds: Vec<OwnedFd>,
}

impl Datagram {
    /// One with `spare`, an empty buffer, if its room suffices.
    fn new(kind: u8, body_bytes: usize, fds: Vec<OwnedFd>, spare: Option<Buffer>) -> Self {
        let room = HEADER + body_bytes.max(FULL);
        // The full capacity at once: a vector that grows leaves copies of keys behind.
        let mut bytes = spare
            .filter(|spare| spare.capacity() >= room)
            .unwrap_or_else(|| Zeroizing::new(Vec::with_capacity(room)));
        bytes.extend_from_slice(&api::VERSION.to_le_bytes());
        bytes.push(kind);
        Self {
            bytes,
            messages: 0,
            fds,
        }
    }

    fn takes(&self, body_bytes: usize) -> bool {
        self.fds.is_empty()
            && self.messages < MAX_MESSAGES
            && self.bytes.len() + body_bytes <= HEADER + FULL
    }

    fn send(&self, socket: &OwnedFd) -> io::Result<()> {
        let fds: Vec<_> = self.fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(socket, &[IoSlice::new(&self.bytes)], &mut control, flags)?;
        Ok(())
    }
}

/// The sending half of a connection.
pub struct Sender<T> {
    socket: Arc<AsyncFd<OwnedFd>>,
    scratch: Buffer,
    queue: VecDeque<Datagram>,
    /// The buffer of a datagram that was sent, wiped: most are much shorter than the room that each must have.
    spare: Option<Buffer>,
    queued_bytes: usize,
    queue_bytes: usize,
    messages: PhantomData<fn(T)>,
}

impl<T: Message> Sender<T> {
    /// Queues `message` behind those before it; [`flush`](Self::flush) or [`try_flush`](Self::try_flush) sends.
    ///
    /// # Errors
    /// `Full` or `TooLong`; nothing is queued then.
    pub fn push(&mut self, message: &T) -> Result<(), SendError> {
        let body = postcard::to_slice(message, &mut self.scratch)
            .map_err(|_| SendError::TooLong)?
            .len();
        if self.queued_bytes + body > self.queue_bytes {
            return Err(SendError::Full);
        }
        if !self.queue.back().is_some_and(|last| last.takes(body)) {
            let spare = self.spare.take();
            self.queue
                .push_back(Datagram::new(T::KIND, body, Vec::new(), spare));
        }
        self.append(body);
        Ok(())
    }

    /// Queues `message` in a datagram of its own with `fds` beside it.
    ///
    /// # Errors
    /// As [`push`](Self::push), and `TooLong` for more than [`MAX_FDS`] descriptors.
    pub fn push_with_fds(&mut self, message: &T, fds: Vec<OwnedFd>) -> Result<(), SendError> {
        let body = postcard::to_slice(message, &mut self.scratch)
            .map_err(|_| SendError::TooLong)?
            .len();
        if fds.len() > MAX_FDS {
            return Err(SendError::TooLong);
        }
        if self.queued_bytes + body > self.queue_bytes {
            return Err(SendError::Full);
        }
        let spare = self.spare.take();
        self.queue
            .push_back(Datagram::new(T::KIND, body, fds, spare));
        self.append(body);
        Ok(())
    }

    fn append(&mut self, body_bytes: usize) {
        if let Some(last) = self.queue.back_mut() {
            last.bytes.extend_from_slice(&self.scratch[..body_bytes]);
            last.messages += 1;
            self.queued_bytes += body_bytes;
        }
        self.scratch[..body_bytes].zeroize();
    }

    /// Bytes that wait in the queue.
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether everything queued was handed to the socket.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what the socket takes now and leaves the rest queued.
    ///
    /// # Errors
    /// The socket's, such as a peer that is gone.
    pub fn try_flush(&mut self) -> io::Result<()> {
        while let Some(datagram) = self.queue.front() {
            match datagram.send(self.socket.get_ref()) {
                Ok(()) => self.pop(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends all that is queued, waiting for the socket; may be dropped at any await without loss.
    ///
    /// # Errors
    /// The socket's, such as a peer that is gone.
    pub async fn flush(&mut self) -> io::Result<()> {
        while let Some(datagram) = self.queue.front() {
            let mut ready = self.socket.writable().await?;
            if let Ok(sent) = ready.try_io(|socket| datagram.send(socket.get_ref())) {
                sent?;
                self.pop();
            }
        }
        Ok(())
    }

    fn pop(&mut self) {
        if let Some(mut sent) = self.queue.pop_front() {
            self.queued_bytes -= sent.bytes.len() - HEADER;
            sent.bytes.as_mut_slice().zeroize();
            sent.bytes.clear();
            self.spare = Some(sent.bytes);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("queued_bytes", &self.queued_bytes)
            .finish_non_exhaustive()
    }
}

/// What one datagram brought.
#[derive(Debug)]
pub struct Received<T> {
    /// Its messages in order, at least one.
    pub messages: Vec<T>,
    /// The descriptors beside it.
    pub fds: Vec<OwnedFd>,
}

/// The receiving half of a connection.
pub struct Receiver<T> {
    socket: Arc<AsyncFd<OwnedFd>>,
    buffer: Zeroizing<Vec<u8>>,
    messages: PhantomData<fn() -> T>,
}

impl<T: Message> Receiver<T> {
    /// Waits for the next datagram; `None` when the peer has closed. May be dropped at any await without loss.
    ///
    /// # Errors
    /// The socket's, or what is wrong with the datagram; the connection is of no more use then.
    pub async fn recv(&mut self) -> Result<Option<Received<T>>, IpcError> {
        loop {
            let mut ready = self.socket.readable().await?;
            let buffer = &mut self.buffer;
            match ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                Ok(received) => return self.take(received?),
                Err(_would_block) => {}
            }
        }
    }

    fn take(&mut self, raw: Raw) -> Result<Option<Received<T>>, IpcError> {
        if raw.truncated {
            return Err(IpcError::TooLong);
        }
        if raw.len == 0 {
            return Ok(None);
        }
        let messages = decode(&self.buffer[..raw.len]);
        self.buffer[..raw.len].zeroize();
        Ok(Some(Received {
            messages: messages?,
            fds: raw.fds,
        }))
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

struct Raw {
    len: usize,
    truncated: bool,
    fds: Vec<OwnedFd>,
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Raw> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut fds = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    Ok(Raw {
        len: message.bytes,
        truncated: message
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC),
        fds,
    })
}

/// Encodes `messages` as one datagram, as a [`Sender`] would.
///
/// # Errors
/// `TooLong` beyond [`MAX_DATAGRAM`] or [`MAX_MESSAGES`].
pub fn encode<T: Message>(messages: &[T]) -> Result<Vec<u8>, SendError> {
    let mut bytes = api::VERSION.to_le_bytes().to_vec();
    bytes.push(T::KIND);
    for message in messages {
        bytes = postcard::to_extend(message, bytes).map_err(|_| SendError::TooLong)?;
    }
    if bytes.len() > MAX_DATAGRAM || messages.len() > MAX_MESSAGES {
        return Err(SendError::TooLong);
    }
    Ok(bytes)
}

/// Decodes one datagram: header, then one or more messages to its end.
///
/// # Errors
/// `Version` or `Kind` when the header is not ours, `TooLong` beyond [`MAX_DATAGRAM`] or [`MAX_MESSAGES`], `Malformed` for the rest.
pub fn decode<T: Message>(datagram: &[u8]) -> Result<Vec<T>, IpcError> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(IpcError::TooLong);
    }
    let Some((&[low, high, kind], mut rest)) = datagram.split_first_chunk::<HEADER>() else {
        return Err(IpcError::Malformed);
    };
    let version = u16::from_le_bytes([low, high]);
    if version != api::VERSION {
        return Err(IpcError::Version(version));
    }
    if kind != T::KIND {
        return Err(IpcError::Kind(kind));
    }
    let mut messages = Vec::new();
    while !rest.is_empty() {
        if messages.len() == MAX_MESSAGES {
            return Err(IpcError::TooLong);
        }
        let (message, left) = postcard::take_from_bytes(rest).map_err(|_| IpcError::Malformed)?;
        // A message of no bytes would never end.
        if left.len() == rest.len() {
            return Err(IpcError::Malformed);
        }
        messages.push(message);
        rest = left;
    }
    if messages.is_empty() {
        return Err(IpcError::Malformed);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::api::{
        Command, CoreId, Encapsulation, Event, PuntSource, Refusal, SetId, SetSpec, Ticket,
    };

    const QUEUE: usize = 1 << 20;

    fn request(ticket: u64) -> Request {
        Request {
            ticket: Ticket(ticket),
            core: CoreId(1),
            command: Command::OpenSet(SetSpec {
                id: SetId(7),
                local: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4500),
                remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 61_000),
                encapsulation: Encapsulation::EspInUdp,
            }),
        }
    }

    fn punt(len: usize) -> Punt {
        Punt {
            core: CoreId(0),
            source: PuntSource::Ppp(api::SessionRow(3)),
            bytes: vec![0x5a; len],
        }
    }

    #[tokio::test]
    async fn many_messages_travel_in_one_datagram_and_keep_their_order() {
        let (a, b) = pair().unwrap();
        let (mut sender, _unused) = channel::<Request, Answer>(a, QUEUE).unwrap();
        let (_unused, mut receiver) = channel::<Answer, Request>(b, QUEUE).unwrap();
        let sent: Vec<_> = (0..100).map(request).collect();
        for message in &sent {
            sender.push(message).unwrap();
        }
        sender.flush().await.unwrap();
        assert!(sender.is_empty());
        let received = receiver.recv().await.unwrap().unwrap();
        assert_eq!(received.messages, sent);
    }

    #[tokio::test]
    async fn descriptors_travel_beside_their_message_alone() {
        let (a, b) = pair().unwrap();
        let (mut sender, _unused) = channel::<Answer, Request>(a, QUEUE).unwrap();
        let (_unused, mut receiver) = channel::<Request, Answer>(b, QUEUE).unwrap();
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (first, second, third) = (
            Answer::Done(Ticket(1)),
            Answer::Refused(Ticket(2), Refusal::Absent),
            Answer::Event(CoreId(0), Event::InventoryEnd),
        );
        sender.push(&first).unwrap();
        sender.push_with_fds(&second, vec![far.into()]).unwrap();
        sender.push(&third).unwrap();
        sender.flush().await.unwrap();

        let plain = receiver.recv().await.unwrap().unwrap();
        assert_eq!((plain.messages, plain.fds.len()), (vec![first], 0));
        let with_fd = receiver.recv().await.unwrap().unwrap();
        assert_eq!(with_fd.messages, [second]);
        let fd = with_fd.fds.into_iter().next().unwrap();
        std::fs::File::from(fd).write_all(b"through").unwrap();
        let mut got = [0; 7];
        near.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"through");
        let last = receiver.recv().await.unwrap().unwrap();
        assert_eq!(last.messages, [third]);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_fills_a_bounded_queue_and_blocks_nobody() {
        let (a, b) = pair().unwrap();
        let (mut sender, _unused) = channel::<Punt, Answer>(a, QUEUE).unwrap();
        let refused = (0..100_000).find_map(|_| {
            sender.try_flush().unwrap();
            sender.push(&punt(1_400)).err()
        });
        assert_eq!(refused, Some(SendError::Full));
        assert!(sender.queued_bytes() <= QUEUE);
        // Once it reads again, nothing of what was accepted is lost.
        let (_unused, mut receiver) = channel::<Answer, Punt>(b, QUEUE).unwrap();
        let (drained, ()) = tokio::join!(
            async {
                let mut count = 0;
                while let Some(received) = receiver.recv().await.unwrap() {
                    count += received.messages.len();
                    if received.messages.last() == Some(&punt(1)) {
                        break;
                    }
                }
                count
            },
            async {
                sender.flush().await.unwrap();
                sender.push(&punt(1)).unwrap();
                sender.flush().await.unwrap();
            }
        );
        assert!(drained > 1_000, "{drained}");
    }

    #[tokio::test]
    async fn a_closed_peer_ends_the_stream() {
        let (a, b) = pair().unwrap();
        let (_sender, mut receiver) = channel::<Answer, Request>(a, QUEUE).unwrap();
        drop(b);
        assert!(receiver.recv().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_is_an_error() {
        let (a, b) = pair().unwrap();
        let (_sender, mut receiver) = channel::<Answer, Request>(a, QUEUE).unwrap();
        rustix::net::send(&b, &vec![0; MAX_DATAGRAM + 1], SendFlags::empty()).unwrap();
        assert!(matches!(receiver.recv().await, Err(IpcError::TooLong)));
    }

    #[tokio::test]
    async fn a_message_longer_than_a_datagram_is_refused_and_leaves_the_queue_as_it_was() {
        let (a, _b) = pair().unwrap();
        let (mut sender, _unused) = channel::<Punt, Answer>(a, QUEUE).unwrap();
        assert_eq!(sender.push(&punt(MAX_DATAGRAM)), Err(SendError::TooLong));
        assert!(sender.is_empty());
        sender.push(&punt(MAX_DATAGRAM - 64)).unwrap();
    }

    #[test]
    fn headers_that_are_not_ours_are_named() {
        let good = encode(&[request(1)]).unwrap();
        let mut version = good.clone();
        version[0] ^= 0x80;
        assert!(
            matches!(decode::<Request>(&version), Err(IpcError::Version(v)) if v != api::VERSION)
        );
        assert!(matches!(
            decode::<Answer>(&good),
            Err(IpcError::Kind(Request::KIND))
        ));
        assert!(matches!(
            decode::<Request>(&good[..2]),
            Err(IpcError::Malformed)
        ));
        assert!(matches!(
            decode::<Request>(&good[..3]),
            Err(IpcError::Malformed)
        ));
    }

    #[test]
    fn every_truncation_is_malformed() {
        let whole = encode(&[request(1)]).unwrap();
        for len in HEADER..whole.len() {
            assert!(matches!(
                decode::<Request>(&whole[..len]),
                Err(IpcError::Malformed)
            ));
        }
    }

    #[test]
    fn too_many_messages_in_a_datagram_are_refused() {
        let one = encode(&[Answer::Done(Ticket(1))]).unwrap();
        let mut many = one[..HEADER].to_vec();
        for _ in 0..=MAX_MESSAGES {
            many.extend_from_slice(&one[HEADER..]);
        }
        assert!(matches!(decode::<Answer>(&many), Err(IpcError::TooLong)));
        many.truncate(many.len() - (one.len() - HEADER));
        assert_eq!(decode::<Answer>(&many).unwrap().len(), MAX_MESSAGES);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_what_decodes_encodes_again(
            kind in 1_u8..=3,
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut datagram = api::VERSION.to_le_bytes().to_vec();
            datagram.push(kind);
            datagram.extend_from_slice(&body);
            if let Ok(messages) = decode::<Request>(&datagram) {
                prop_assert_eq!(&decode::<Request>(&encode(&messages).unwrap()).unwrap(), &messages);
            }
            if let Ok(messages) = decode::<Answer>(&datagram) {
                prop_assert_eq!(&decode::<Answer>(&encode(&messages).unwrap()).unwrap(), &messages);
            }
            if let Ok(messages) = decode::<Punt>(&datagram) {
                prop_assert_eq!(&decode::<Punt>(&encode(&messages).unwrap()).unwrap(), &messages);
            }
        }
    }
}
