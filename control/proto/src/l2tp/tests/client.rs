//! A small L2TP client for the tests: it builds its own messages and keeps its own sequence numbers.

use std::collections::VecDeque;

use culvert_wire::id::{SessionId, TunnelId};
use culvert_wire::l2tp::avp::{self, AttributeType, Avps, ErrorCode, Need, ResultCode};
use culvert_wire::l2tp::message::{self, ControlHeader, ControlMessage, MessageType};
use culvert_wire::writer::Writer;

/// What the client has been told or has told.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) tunnel: TunnelId,
    pub(crate) session: SessionId,
    pub(crate) server_tunnel: TunnelId,
    pub(crate) server_session: SessionId,
    pub(crate) ns: u16,
    pub(crate) nr: u16,
    pub(crate) window: u16,
    pub(crate) unacknowledged: VecDeque<(u16, Vec<u8>)>,
    pub(crate) finished: bool,
}

impl Client {
    pub(crate) const fn new(tunnel: u16, session: u16) -> Self {
        Self {
            tunnel: TunnelId(tunnel),
            session: SessionId(session),
            server_tunnel: TunnelId(0),
            server_session: SessionId(0),
            ns: 0,
            nr: 0,
            window: 4,
            unacknowledged: VecDeque::new(),
            finished: false,
        }
    }

    /// Makes a message with the AVPs it must have.
    pub(crate) fn message(&mut self, kind: MessageType) -> Vec<u8> {
        let (tunnel, session, window) = (self.tunnel.0, self.session.0, self.window);
        self.message_with(kind, |writer| {
            let need = Need::Mandatory;
            let mut put =
                |attribute, value: &[u8]| avp::put(writer, need, attribute, value).unwrap();
            match kind {
                MessageType::SCCRQ => {
                    put(AttributeType::PROTOCOL_VERSION, &[1, 0]);
                    put(AttributeType::HOST_NAME, b"anonymous\0");
                    put(AttributeType::FRAMING_CAPABILITIES, &[0, 0, 0, 3]);
                    put(AttributeType::ASSIGNED_TUNNEL_ID, &tunnel.to_be_bytes());
                    put(AttributeType::RECEIVE_WINDOW_SIZE, &window.to_be_bytes());
                }
                MessageType::ICRQ => {
                    put(AttributeType::ASSIGNED_SESSION_ID, &session.to_be_bytes());
                    put(AttributeType::CALL_SERIAL_NUMBER, &[0, 0, 0, 1]);
                }
                MessageType::ICCN => {
                    put(
                        AttributeType::TX_CONNECT_SPEED,
                        &1_000_000_u32.to_be_bytes(),
                    );
                    put(AttributeType::FRAMING_TYPE, &[0, 0, 0, 3]);
                }
                MessageType::CDN => {
                    put(AttributeType::RESULT_CODE, &[0, 3]);
                    put(AttributeType::ASSIGNED_SESSION_ID, &session.to_be_bytes());
                }
                MessageType::STOP_CCN => {
                    put(AttributeType::ASSIGNED_TUNNEL_ID, &tunnel.to_be_bytes());
                    put(AttributeType::RESULT_CODE, &[0, 1]);
                }
                _ => {}
            }
        })
    }

    /// Makes a message whose AVPs after the type `avps` appends.
    pub(crate) fn message_with(
        &mut self,
        kind: MessageType,
        avps: impl FnOnce(&mut Writer<'_>),
    ) -> Vec<u8> {
        let in_session = [MessageType::ICCN, MessageType::CDN].contains(&kind);
        let header = ControlHeader {
            tunnel: self.server_tunnel,
            session: if in_session {
                self.server_session
            } else {
                SessionId(0)
            },
            ns: self.ns,
            nr: self.nr,
        };
        let mut buffer = [0; 1_500];
        let len = message::emit(&mut buffer, header, kind, |writer| {
            avps(writer);
            Ok(())
        })
        .unwrap();
        let bytes = buffer[..len].to_vec();
        self.unacknowledged.push_back((self.ns, bytes.clone()));
        self.ns = self.ns.wrapping_add(1);
        bytes
    }

    pub(crate) fn zlb(&self) -> Vec<u8> {
        message::zlb(ControlHeader {
            tunnel: self.server_tunnel,
            session: SessionId(0),
            ns: self.ns,
            nr: self.nr,
        })
        .to_vec()
    }

    /// Takes a message; returns its type if it is new, and what else to send at once.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<MessageType> {
        let message = ControlMessage::parse(bytes).unwrap();
        assert_eq!(message.header.tunnel, self.tunnel);
        let nr = message.header.nr;
        self.unacknowledged
            .retain(|&(ns, _)| nr.wrapping_sub(ns).wrapping_sub(1) >= 0x8000);
        let body = message.body().ok()?;
        if message.header.ns != self.nr {
            return None;
        }
        self.nr = self.nr.wrapping_add(1);
        let id = |wanted| {
            let mut avps = Avps::new(message.avps).map(Result::unwrap);
            let avp = avps.find(|avp| avp.attribute == wanted);
            avp.map(|avp| avp.u16().unwrap())
        };
        match body.kind {
            MessageType::SCCRP => {
                self.server_tunnel = TunnelId(id(AttributeType::ASSIGNED_TUNNEL_ID).unwrap());
            }
            MessageType::ICRP => {
                self.server_session = SessionId(id(AttributeType::ASSIGNED_SESSION_ID).unwrap());
            }
            MessageType::STOP_CCN => self.finished = true,
            _ => {}
        }
        Some(body.kind)
    }
}

/// The result code in a CDN or StopCCN.
pub(crate) fn result(bytes: &[u8]) -> (u16, ErrorCode) {
    let message = ControlMessage::parse(bytes).unwrap();
    let mut avps = Avps::new(message.avps).map(Result::unwrap);
    let avp = avps.find(|avp| avp.attribute == AttributeType::RESULT_CODE);
    let ResultCode { result, error, .. } = avp.unwrap().result_code().unwrap();
    (result, error)
}
