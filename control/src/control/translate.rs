//! The one place where the machines' values become the data plane's and back.

use culvert_crypto::Suite;
use culvert_dataplane::api;
use culvert_proto::gateway::{Destination, Input};
use culvert_proto::rows::{
    self, AesKeyLen, Change, CoreId, EspSuite, InnerPorts, Integrity, Path, SessionRow, SetId,
};
use zeroize::Zeroizing;

/// Packets of the replay window of every inbound SA.
pub const REPLAY_WINDOW: u16 = 1_024;

/// A command and the core it is for.
pub type Addressed = (api::CoreId, api::Command);

/// The commands of `change`, in order. `start` says whether its SAs are new or come back.
pub fn commands(change: &Change, start: api::Start) -> Vec<Addressed> {
    match change {
        Change::OpenSet {
            set,
            path,
            encapsulation,
        } => {
            vec![open_set(*set, *path, *encapsulation)]
        }
        Change::CloseSet(set) => vec![(core(set.core), api::Command::CloseSet(set_id(*set)))],
        Change::AddSas {
            set,
            inbound,
            outbound,
            suite,
            inbound_keys,
            outbound_keys,
        } => {
            let sas = Sas {
                set: *set,
                inbound: *inbound,
                outbound: *outbound,
                suite: *suite,
            };
            vec![
                add_inbound(&sas, inbound_keys, start),
                add_outbound(&sas, outbound_keys, api::Activation::WhenPeerHasIt, start),
            ]
        }
        Change::UseOutbound { set, outbound } => {
            let command = api::Command::UseOutbound {
                set: set_id(*set),
                spi: *outbound,
            };
            vec![(core(set.core), command)]
        }
        Change::RemoveInbound { set, inbound } => {
            vec![(core(set.core), api::Command::RemoveInbound(*inbound))]
        }
        Change::RemoveOutbound { set, outbound } => {
            let command = api::Command::RemoveOutbound {
                set: set_id(*set),
                spi: *outbound,
            };
            vec![(core(set.core), command)]
        }
        Change::OpenSession(session) => vec![open_session(session)],
        Change::CloseSession(row) => {
            vec![(
                core(row.core),
                api::Command::CloseSession(session_row(*row)),
            )]
        }
    }
}

/// A pair of SAs without its keys.
#[derive(Clone, Copy, Debug)]
pub struct Sas {
    /// Their set.
    pub set: SetId,
    /// Our SPI.
    pub inbound: api::Spi,
    /// The peer's SPI.
    pub outbound: api::Spi,
    /// Algorithms of both.
    pub suite: EspSuite,
}

/// Makes an SA set row.
pub fn open_set(set: SetId, path: Path, encapsulation: rows::Encapsulation) -> Addressed {
    let spec = api::SetSpec {
        id: set_id(set),
        local: path.local,
        remote: path.remote,
        encapsulation: match encapsulation {
            rows::Encapsulation::Esp => api::Encapsulation::Esp,
            rows::Encapsulation::EspInUdp => api::Encapsulation::EspInUdp,
            rows::Encapsulation::Clear => api::Encapsulation::Clear,
        },
    };
    (core(set.core), api::Command::OpenSet(spec))
}

/// Installs the inbound SA of a pair.
pub fn add_inbound(sas: &Sas, keys: &rows::KeyMaterial, start: api::Start) -> Addressed {
    let spec = api::InboundSpec {
        spi: sas.inbound,
        set: set_id(sas.set),
        suite: suite(sas.suite),
        keys: key_material(keys),
        replay_window: REPLAY_WINDOW,
        start,
    };
    (core(sas.set.core), api::Command::AddInbound(spec))
}

/// Installs the outbound SA of a pair.
pub fn add_outbound(
    sas: &Sas,
    keys: &rows::KeyMaterial,
    activation: api::Activation,
    start: api::Start,
) -> Addressed {
    let spec = api::OutboundSpec {
        spi: sas.outbound,
        set: set_id(sas.set),
        twin: sas.inbound,
        suite: suite(sas.suite),
        keys: key_material(keys),
        activation,
        start,
    };
    (core(sas.set.core), api::Command::AddOutbound(spec))
}

/// Makes or replaces a session row.
pub fn open_session(session: &rows::SessionSpec) -> Addressed {
    let spec = api::SessionSpec {
        row: session_row(session.row),
        set: set_id(session.set),
        local_port: session.ports.local,
        remote_port: session.ports.remote,
        local_tunnel: session.local_tunnel,
        local_session: session.local_session,
        peer_tunnel: session.peer_tunnel,
        peer_session: session.peer_session,
        sequencing: match session.sequencing {
            rows::Sequencing::Off => api::Sequencing::Off,
            rows::Sequencing::On => api::Sequencing::On,
        },
        framing: api::PppFraming {
            address_control_compressed: session.framing.address_control_compressed,
            protocol_compressed: session.framing.protocol_compressed,
        },
        phase: match session.phase {
            rows::Phase::Negotiating => api::Phase::Negotiating,
            rows::Phase::Open { address, mru } => api::Phase::Open { address, mru },
        },
    };
    (core(session.row.core), api::Command::OpenSession(spec))
}

/// A message of the machines' own.
pub fn transmit(to: Destination, bytes: Vec<u8>) -> Addressed {
    let (core_id, to) = match to {
        Destination::Ike {
            core,
            path: Path { local, remote },
        } => (core, api::Destination::Ike { local, remote }),
        Destination::L2tp { set, ports } => {
            let to = api::Destination::L2tp {
                set: set_id(set),
                local_port: ports.local,
                remote_port: ports.remote,
            };
            (set.core, to)
        }
        Destination::ClearL2tp {
            core,
            path: Path { local, remote },
        } => (core, api::Destination::ClearL2tp { local, remote }),
        Destination::Ppp(row) => (row.core, api::Destination::Ppp(session_row(row))),
    };
    (
        core(core_id),
        api::Command::Transmit(api::Transmit { to, bytes }),
    )
}

/// What a punted packet is to the machines.
pub fn input(punt: &api::Punt) -> Input<'_> {
    let core = from_core(punt.core);
    let bytes = &punt.bytes;
    match punt.source {
        api::PuntSource::Ike { local, remote } => Input::Ike {
            core,
            path: Path { local, remote },
            bytes,
        },
        api::PuntSource::L2tp {
            set,
            local_port,
            remote_port,
        } => Input::L2tp {
            set: from_set(punt.core, set),
            ports: InnerPorts {
                local: local_port,
                remote: remote_port,
            },
            bytes,
        },
        api::PuntSource::ClearL2tp { local, remote } => Input::ClearL2tp {
            core,
            path: Path { local, remote },
            bytes,
        },
        api::PuntSource::Ppp(row) => Input::Ppp {
            session: from_session(punt.core, row),
            bytes,
        },
    }
}

/// The data plane's name of a core.
pub const fn core(core: CoreId) -> api::CoreId {
    api::CoreId(core.0)
}

/// The machines' name of a core.
pub const fn from_core(core: api::CoreId) -> CoreId {
    CoreId(core.0)
}

/// The machines' name of a set row.
pub const fn from_set(core: api::CoreId, set: api::SetId) -> SetId {
    SetId {
        core: from_core(core),
        row: set.0,
    }
}

/// The machines' name of a session row.
pub const fn from_session(core: api::CoreId, row: api::SessionRow) -> SessionRow {
    SessionRow {
        core: from_core(core),
        row: row.0,
    }
}

/// The data plane's name of a set row on its core.
pub const fn set_id(set: SetId) -> api::SetId {
    api::SetId(set.row)
}

/// The data plane's name of a session row on its core.
pub const fn session_row(row: SessionRow) -> api::SessionRow {
    api::SessionRow(row.row)
}

const fn suite(suite: EspSuite) -> Suite {
    match suite {
        EspSuite::AesGcm(key) => Suite::AesGcm(aes_key(key)),
        EspSuite::AesCbc(key, integrity) => {
            Suite::AesCbcHmac(aes_key(key), self::integrity(integrity))
        }
    }
}

const fn aes_key(len: AesKeyLen) -> culvert_crypto::AesKey {
    match len {
        AesKeyLen::Bits128 => culvert_crypto::AesKey::Bits128,
        AesKeyLen::Bits256 => culvert_crypto::AesKey::Bits256,
    }
}

const fn integrity(integrity: Integrity) -> culvert_crypto::Integrity {
    match integrity {
        Integrity::HmacSha1_96 => culvert_crypto::Integrity::Sha1_96,
        Integrity::HmacSha2_256_128 => culvert_crypto::Integrity::Sha256_128,
    }
}

fn key_material(keys: &rows::KeyMaterial) -> api::KeyMaterial {
    api::KeyMaterial::new(Zeroizing::new(keys.expose().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_punt_keeps_its_core_rows_ports_and_bytes() {
        let punt = api::Punt {
            core: api::CoreId(3),
            source: api::PuntSource::L2tp {
                set: api::SetId(9),
                local_port: 1701,
                remote_port: 4711,
            },
            bytes: vec![1, 2, 3],
        };
        let Input::L2tp { set, ports, bytes } = input(&punt) else {
            panic!("not L2TP");
        };
        assert_eq!(
            set,
            SetId {
                core: CoreId(3),
                row: 9
            }
        );
        assert_eq!(
            (ports.local, ports.remote, bytes),
            (1701, 4711, &[1, 2, 3][..])
        );
    }

    #[test]
    fn both_sides_count_the_same_key_bytes() {
        for aes in [AesKeyLen::Bits128, AesKeyLen::Bits256] {
            for esp in [
                EspSuite::AesGcm(aes),
                EspSuite::AesCbc(aes, Integrity::HmacSha1_96),
                EspSuite::AesCbc(aes, Integrity::HmacSha2_256_128),
            ] {
                assert_eq!(suite(esp).key_len(), esp.key_len(), "{esp:?}");
            }
        }
    }
}
