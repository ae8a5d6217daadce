//! The option negotiation automaton, as the table of RFC 1661 §4.1.

use serde::{Deserialize, Serialize};

/// A state of the automaton (RFC 1661 §4.2), in the RFC's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum State {
    Initial,
    Starting,
    Closed,
    Stopped,
    Closing,
    Stopping,
    ReqSent,
    AckRcvd,
    AckSent,
    Opened,
}

/// What happens to it (RFC 1661 §4.3), in the RFC's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the table is the RFC's, whole; not all of it happens to a server"
    )
)]
pub(super) enum Event {
    Up,
    Down,
    Open,
    Close,
    /// TO+
    Timeout,
    /// TO-
    LastTimeout,
    /// RCR+
    GoodRequest,
    /// RCR-
    BadRequest,
    /// RCA
    Ack,
    /// RCN
    Nak,
    /// RTR
    TerminateRequest,
    /// RTA
    TerminateAck,
    /// RUC
    UnknownCode,
    /// RXJ+
    PermittedReject,
    /// RXJ-
    FatalReject,
    /// RXR
    Echo,
}

/// What it does (RFC 1661 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// tlu
    LayerUp,
    /// tld
    LayerDown,
    /// tls
    LayerStarted,
    /// tlf
    LayerFinished,
    /// irc
    InitializeRestartCount,
    /// zrc
    ZeroRestartCount,
    /// scr
    SendConfigureRequest,
    /// sca
    SendConfigureAck,
    /// scn
    SendConfigureNak,
    /// str
    SendTerminateRequest,
    /// sta
    SendTerminateAck,
    /// scj
    SendCodeReject,
    /// ser
    SendEchoReply,
}

/// What `event` does in `state`, and the state after it. An event that cannot happen there changes nothing.
#[rustfmt::skip]
pub(super) const fn transition(state: State, event: Event) -> (&'static [Action], State) {
    use Action::{
        InitializeRestartCount as Irc, LayerDown as Tld, LayerFinished as Tlf, LayerStarted as Tls, LayerUp as Tlu,
        SendCodeReject as Scj, SendConfigureAck as Sca, SendConfigureNak as Scn, SendConfigureRequest as Scr,
        SendEchoReply as Ser, SendTerminateAck as Sta, SendTerminateRequest as Str, ZeroRestartCount as Zrc,
    };
    use State::{AckRcvd, AckSent, Closed, Closing, Initial, Opened, ReqSent, Starting, Stopped, Stopping};
    let (actions, next): (&[Action], State) = match (event, state) {
        (Event::Up, Initial) => (&[], Closed),
        (Event::Up, Starting) => (&[Irc, Scr], ReqSent),

        (Event::Down, Closed | Closing) => (&[], Initial),
        (Event::Down, Stopped) => (&[Tls], Starting),
        (Event::Down, Stopping | ReqSent | AckRcvd | AckSent) => (&[], Starting),
        (Event::Down, Opened) => (&[Tld], Starting),

        (Event::Open, Initial) => (&[Tls], Starting),
        (Event::Open, Closed) => (&[Irc, Scr], ReqSent),
        (Event::Open, Closing) => (&[], Stopping),

        (Event::Close, Starting) => (&[Tlf], Initial),
        (Event::Close, Stopped) => (&[], Closed),
        (Event::Close, Stopping) => (&[], Closing),
        (Event::Close, ReqSent | AckRcvd | AckSent) => (&[Irc, Str], Closing),
        (Event::Close, Opened) => (&[Tld, Irc, Str], Closing),

        (Event::Timeout, Closing | Stopping) => (&[Str], state),
        (Event::Timeout, ReqSent | AckRcvd) => (&[Scr], ReqSent),
        (Event::Timeout, AckSent) => (&[Scr], AckSent),

        (Event::LastTimeout, Closing) => (&[Tlf], Closed),
        (Event::LastTimeout, Stopping | ReqSent | AckRcvd | AckSent) => (&[Tlf], Stopped),

        (Event::GoodRequest, Stopped) => (&[Irc, Scr, Sca], AckSent),
        (Event::GoodRequest, ReqSent | AckSent) => (&[Sca], AckSent),
        (Event::GoodRequest, AckRcvd) => (&[Sca, Tlu], Opened),
        (Event::GoodRequest, Opened) => (&[Tld, Scr, Sca], AckSent),

        (Event::BadRequest, Stopped) => (&[Irc, Scr, Scn], ReqSent),
        (Event::BadRequest, ReqSent | AckSent) => (&[Scn], ReqSent),
        (Event::BadRequest, AckRcvd) => (&[Scn], AckRcvd),
        (Event::BadRequest, Opened) => (&[Tld, Scr, Scn], ReqSent),

        (Event::Ack, ReqSent) => (&[Irc], AckRcvd),
        (Event::Ack, AckSent) => (&[Irc, Tlu], Opened),
        (Event::Nak, ReqSent) => (&[Irc, Scr], ReqSent),
        (Event::Nak, AckSent) => (&[Irc, Scr], AckSent),
        (Event::Ack | Event::Nak, AckRcvd) => (&[Scr], ReqSent),
        (Event::Ack | Event::Nak, Opened) => (&[Tld, Scr], ReqSent),

        (Event::GoodRequest | Event::BadRequest | Event::Ack | Event::Nak, Closed) => (&[Sta], Closed),
        (Event::Ack | Event::Nak, Stopped) => (&[Sta], Stopped),

        (Event::TerminateRequest, Closed | Stopped | Closing | Stopping) => (&[Sta], state),
        (Event::TerminateRequest, ReqSent | AckRcvd | AckSent) => (&[Sta], ReqSent),
        (Event::TerminateRequest, Opened) => (&[Tld, Zrc, Sta], Stopping),

        (Event::TerminateAck, Closing) => (&[Tlf], Closed),
        (Event::TerminateAck, Stopping) => (&[Tlf], Stopped),
        (Event::TerminateAck, AckRcvd) => (&[], ReqSent),
        (Event::TerminateAck, Opened) => (&[Tld, Scr], ReqSent),

        (Event::UnknownCode, Initial | Starting) => (&[], state),
        (Event::UnknownCode, _) => (&[Scj], state),

        (Event::PermittedReject, AckRcvd) => (&[], ReqSent),
        (Event::FatalReject, Closed | Closing) => (&[Tlf], Closed),
        (Event::FatalReject, Stopped | Stopping | ReqSent | AckRcvd | AckSent) => (&[Tlf], Stopped),
        (Event::FatalReject, Opened) => (&[Tld, Irc, Str], Stopping),

        (Event::Echo, Opened) => (&[Ser], Opened),
        _ => (&[], state),
    };
    (actions, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 10] = [
        State::Initial,
        State::Starting,
        State::Closed,
        State::Stopped,
        State::Closing,
        State::Stopping,
        State::ReqSent,
        State::AckRcvd,
        State::AckSent,
        State::Opened,
    ];

    /// The table of RFC 1661 §4.1, both halves joined; `-` cannot happen.
    const TABLE: [(Event, &str); 16] = [
        (Event::Up, "2 irc,scr/6 - - - - - - - -"),
        (Event::Down, "- - 0 tls/1 0 1 1 1 1 tld/1"),
        (Event::Open, "tls/1 1 irc,scr/6 3 5 5 6 7 8 9"),
        (
            Event::Close,
            "0 tlf/0 2 2 4 4 irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4",
        ),
        (Event::Timeout, "- - - - str/4 str/5 scr/6 scr/6 scr/8 -"),
        (
            Event::LastTimeout,
            "- - - - tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 -",
        ),
        (
            Event::GoodRequest,
            "- - sta/2 irc,scr,sca/8 4 5 sca/8 sca,tlu/9 sca/8 tld,scr,sca/8",
        ),
        (
            Event::BadRequest,
            "- - sta/2 irc,scr,scn/6 4 5 scn/6 scn/7 scn/6 tld,scr,scn/6",
        ),
        (
            Event::Ack,
            "- - sta/2 sta/3 4 5 irc/7 scr/6 irc,tlu/9 tld,scr/6",
        ),
        (
            Event::Nak,
            "- - sta/2 sta/3 4 5 irc,scr/6 scr/6 irc,scr/8 tld,scr/6",
        ),
        (
            Event::TerminateRequest,
            "- - sta/2 sta/3 sta/4 sta/5 sta/6 sta/6 sta/6 tld,zrc,sta/5",
        ),
        (Event::TerminateAck, "- - 2 3 tlf/2 tlf/3 6 6 8 tld,scr/6"),
        (
            Event::UnknownCode,
            "- - scj/2 scj/3 scj/4 scj/5 scj/6 scj/7 scj/8 scj/9",
        ),
        (Event::PermittedReject, "- - 2 3 4 5 6 6 8 9"),
        (
            Event::FatalReject,
            "- - tlf/2 tlf/3 tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 tld,irc,str/5",
        ),
        (Event::Echo, "- - 2 3 4 5 6 7 8 ser/9"),
    ];

    fn short(action: Action) -> &'static str {
        match action {
            Action::LayerUp => "tlu",
            Action::LayerDown => "tld",
            Action::LayerStarted => "tls",
            Action::LayerFinished => "tlf",
            Action::InitializeRestartCount => "irc",
            Action::ZeroRestartCount => "zrc",
            Action::SendConfigureRequest => "scr",
            Action::SendConfigureAck => "sca",
            Action::SendConfigureNak => "scn",
            Action::SendTerminateRequest => "str",
            Action::SendTerminateAck => "sta",
            Action::SendCodeReject => "scj",
            Action::SendEchoReply => "ser",
        }
    }

    #[test]
    fn every_cell_is_the_rfcs() {
        for (event, row) in TABLE {
            for (state, cell) in STATES.into_iter().zip(row.split(' ')) {
                let (actions, next) = transition(state, event);
                let (expected, number) = cell.rsplit_once('/').unwrap_or(("", cell));
                let expected_state = match number {
                    "-" => state,
                    number => STATES[number.parse::<usize>().unwrap()],
                };
                let names: Vec<_> = actions.iter().copied().map(short).collect();
                assert_eq!(names.join(","), expected, "{event:?} in {state:?}");
                assert_eq!(next, expected_state, "{event:?} in {state:?}");
            }
        }
    }
}
