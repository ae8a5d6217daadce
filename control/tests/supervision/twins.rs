//! Stand-ins for what is not under test: cores that keep rows, and a machine with one session.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use culvert::config::Config;
use culvert::control::Machine;
use culvert_dataplane::api::{
    Answer, Command, DataplaneConfig, Event, Held, Punt, Refusal, Request, Start,
};
use culvert_dataplane::lifeline::Blame;
use culvert_dataplane::process::{CoreStatus, Cores, Count, StartError, Status};
use culvert_proto::gateway::{Destination, Input, Output, Reserved};
use culvert_proto::job::JobDone;
use culvert_proto::rows::{
    AesKeyLen, Change, CoreId, Encapsulation, EspSuite, InnerPorts, KeyMaterial, Path, Phase,
    PppFraming, Sequencing, SessionRow, SessionSpec, SetId,
};
use culvert_proto::time::Time;
use culvert_wire::id::{SessionId, Spi, TunnelId};
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

/// The name of a device that there is not: the data plane then cannot begin, and says so.
pub(crate) const MISSING: &str = "missing";

/// Rows in memory. Each command leaves a line in the file that came beside the configuration.
pub(crate) struct MemoryCores {
    log: File,
    held: BTreeMap<String, (culvert_dataplane::api::CoreId, Held)>,
    continued: u64,
    answers: VecDeque<Answer>,
}

pub(crate) fn start_cores(
    config: DataplaneConfig,
    fds: Vec<OwnedFd>,
) -> Result<MemoryCores, StartError> {
    if config.outer.name == MISSING {
        return Err(StartError {
            blame: Blame::Operator,
            text: "no device".to_owned(),
        });
    }
    Ok(MemoryCores {
        log: File::from(fds.into_iter().next().unwrap()),
        held: BTreeMap::new(),
        continued: 0,
        answers: VecDeque::new(),
    })
}

impl MemoryCores {
    fn carry_out(&mut self, request: &Request) -> Result<(), Refusal> {
        let core = request.core;
        match &request.command {
            Command::OpenSet(spec) => {
                let held = Held::Set {
                    id: spec.id,
                    remote: spec.remote,
                };
                self.held.insert(format!("set {}", spec.id.0), (core, held));
            }
            Command::AddInbound(spec) => {
                let held = Held::Inbound {
                    spi: spec.spi,
                    set: spec.set,
                };
                self.continued += u64::from(spec.start == Start::Continued);
                self.held.insert(format!("sa {}", spec.spi), (core, held));
            }
            Command::OpenSession(spec) => {
                let held = Held::Session {
                    row: spec.row,
                    set: spec.set,
                    address: None,
                };
                self.held
                    .insert(format!("session {}", spec.row.0), (core, held));
            }
            Command::CloseSet(id) => {
                if self.held.remove(&format!("set {}", id.0)).is_none() {
                    return Err(Refusal::Absent);
                }
                self.held.clear();
            }
            Command::Inventory => {
                let rows = self
                    .held
                    .values()
                    .cloned()
                    .map(|(core, held)| (core, Event::Held(held)));
                let end = (core, Event::InventoryEnd);
                self.answers.extend(
                    rows.chain([end])
                        .map(|(core, event)| Answer::Event(core, event)),
                );
            }
            Command::AddOutbound(_)
            | Command::UseOutbound { .. }
            | Command::RemoveInbound(_)
            | Command::RemoveOutbound { .. }
            | Command::CloseSession(_)
            | Command::Transmit(_) => {}
        }
        Ok(())
    }
}

impl Cores for MemoryCores {
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let command = format!("{:?}", request.command);
        let name: String = command
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        writeln!(self.log, "{name}").unwrap();
        let answer = match self.carry_out(&request) {
            Ok(()) => Answer::Done(request.ticket),
            Err(refusal) => Answer::Refused(request.ticket, refusal),
        };
        self.answers.push_back(answer);
        Ok(())
    }

    async fn ready(&mut self) {
        std::future::pending().await
    }

    fn take_answers(&mut self, take: impl FnMut(Answer)) {
        self.answers.drain(..).for_each(take);
    }

    fn take_punts(&mut self, _take: impl FnMut(Punt)) {}

    fn status(&mut self) -> Status {
        let count = |name: &str, value| Count {
            name: name.to_owned(),
            value,
        };
        let gauges = vec![
            count("rows", self.held.len().try_into().unwrap()),
            count("continued", self.continued),
        ];
        Status {
            cores: vec![CoreStatus {
                core: culvert_dataplane::api::CoreId(0),
                gauges,
                packets: Vec::new(),
            }],
            ..Status::default()
        }
    }

    fn are_alive(&mut self) -> bool {
        true
    }

    fn stop(mut self) {
        writeln!(self.log, "Stopped").unwrap();
    }
}

/// A machine that makes one set with an SA pair and a session, unless it finds one of an earlier life.
pub(crate) struct OneSession {
    outputs: VecDeque<Output>,
    begin: Option<Time>,
    reserved: u64,
}

const SET: SetId = SetId {
    core: CoreId(0),
    row: 1,
};
const PORTS: InnerPorts = InnerPorts {
    local: 1701,
    remote: 1701,
};

fn opening() -> [Change; 3] {
    let path = Path {
        local: (Ipv4Addr::new(192, 0, 2, 1), 4500).into(),
        remote: (Ipv4Addr::new(198, 51, 100, 7), 4500).into(),
    };
    let keys = || KeyMaterial::new(Zeroizing::new(vec![7; 20]));
    [
        Change::OpenSet {
            set: SET,
            path,
            encapsulation: Encapsulation::EspInUdp,
        },
        Change::AddSas {
            set: SET,
            inbound: Spi(0x1000),
            outbound: Spi(0x2000),
            suite: EspSuite::AesGcm(AesKeyLen::Bits128),
            inbound_keys: keys(),
            outbound_keys: keys(),
        },
        Change::OpenSession(SessionSpec {
            row: SessionRow {
                core: CoreId(0),
                row: 5,
            },
            set: SET,
            ports: PORTS,
            local_tunnel: TunnelId(1),
            local_session: SessionId(2),
            peer_tunnel: TunnelId(3),
            peer_session: SessionId(4),
            sequencing: Sequencing::Off,
            framing: PppFraming::default(),
            phase: Phase::Negotiating,
        }),
    ]
}

impl Machine for OneSession {
    fn new(_config: &Config, users: &str, now: Time) -> Result<Self, StartError> {
        assert_eq!(users, "users");
        Ok(Self {
            outputs: VecDeque::new(),
            begin: Some(now),
            reserved: 0,
        })
    }

    fn handle(&mut self, _now: Time, _rng: &mut ChaCha20Rng, _input: Input<'_>) {}

    fn handle_lost(&mut self, _now: Time, _rng: &mut ChaCha20Rng, _inbound: Spi) {}

    fn handle_timeout(&mut self, _now: Time, _rng: &mut ChaCha20Rng) {
        self.begin = None;
        if self.reserved == 0 {
            self.outputs.extend(opening().map(Output::Change));
        }
    }

    fn close_all(&mut self, _now: Time, _rng: &mut ChaCha20Rng) {
        let to = Destination::L2tp {
            set: SET,
            ports: PORTS,
        };
        self.outputs.push_back(Output::Transmit {
            to,
            bytes: b"StopCCN".to_vec(),
        });
        self.outputs
            .push_back(Output::Change(Change::CloseSet(SET)));
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.begin
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn handle_done(&mut self, _now: Time, _rng: &mut ChaCha20Rng, _done: JobDone) {}

    fn reserve(&mut self, _set: SetId, _reserved: Reserved) {
        self.reserved += 1;
    }

    fn release(&mut self, _now: Time, _rng: &mut ChaCha20Rng, _set: SetId) {
        self.reserved -= 1;
    }

    fn status(&self, _now: Time) -> Vec<u8> {
        format!("{{\"reserved\":{}}}", self.reserved).into_bytes()
    }
}
