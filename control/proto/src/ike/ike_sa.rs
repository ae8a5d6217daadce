//! One IKE SA and where it stands: a struct for each message that is awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use culvert_wire::ike::{Header, MessageId};
use serde::{Deserialize, Serialize};

use super::config::CredentialId;
use super::error::{Error, Misbehaved};
use super::message::{Cookies, Keys, decrypted_chain, split_hash};
use super::nat::{Dialect, Nat};
use super::phase1_proposal::IkeSuite;
use super::quick::QuickMode;
use super::responder::Answered;
use super::sets::Peer;
use crate::crypto::cipher::Iv;
use crate::job::JobId;
use crate::rows::{CoreId, Path};
use crate::time::Time;

/// One IKE SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IkeSa {
    pub(super) cookies: Cookies,
    pub(super) core: CoreId,
    /// Where answers go: where the newest authenticated message came from, before that where the exchange began.
    pub(super) path: Path,
    pub(super) since: Time,
    pub(super) suite: IkeSuite,
    pub(super) life: Duration,
    pub(super) credential: CredentialId,
    pub(super) answered: Answered,
    pub(super) state: State,
}

/// Where an IKE SA stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum State {
    /// We have answered message 1.
    ExpectKeyExchange(ExpectKeyExchange),
    /// Message 3 is here, the shared secret is being computed.
    ExpectAgreement(ExpectAgreement),
    /// We have answered message 3.
    ExpectIdentity(ExpectIdentity),
    /// HASH_I verified.
    Established(Established),
}

/// Awaits message 3.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectKeyExchange {
    /// SAi_b: the SA payload's body as it was sent.
    pub(super) offered: Vec<u8>,
    pub(super) dialect: Option<Dialect>,
}

/// Awaits the shared secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectAgreement {
    pub(super) offered: Vec<u8>,
    pub(super) peer_public: Vec<u8>,
    pub(super) peer_nonce: Vec<u8>,
    pub(super) dialect: Option<Dialect>,
    pub(super) nat: Nat,
    pub(super) job: JobId,
}

/// Awaits message 5.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExpectIdentity {
    pub(super) offered: Vec<u8>,
    pub(super) peer_public: Vec<u8>,
    pub(super) keys: Keys,
    pub(super) iv: Iv,
    pub(super) nat: Nat,
    /// A message 5 that does not verify has been noted.
    pub(super) failed: bool,
}

/// Awaits quick modes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Established {
    pub(super) peer: Peer,
    pub(super) keys: Keys,
    /// Last encrypted block of main mode.
    pub(super) last_block: Iv,
    pub(super) nat: Nat,
    /// Message ids seen or used: each is good once.
    pub(super) used: BTreeSet<MessageId>,
    pub(super) exchanges: BTreeMap<MessageId, QuickMode>,
}

impl IkeSa {
    /// Who the peer is, once it has proved it.
    pub(super) const fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Established(established) => Some(&established.peer),
            State::ExpectKeyExchange(_) | State::ExpectAgreement(_) | State::ExpectIdentity(_) => {
                None
            }
        }
    }
}

impl IkeSa {
    /// What it is once its peer has proved itself.
    pub(super) const fn established(&self) -> Result<&Established, Error> {
        match &self.state {
            State::Established(established) => Ok(established),
            State::ExpectKeyExchange(_) | State::ExpectAgreement(_) | State::ExpectIdentity(_) => {
                Err(Error::Misbehaved(Misbehaved::Unexpected))
            }
        }
    }
}

impl State {
    /// Jobs that it waits for.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        match self {
            Self::ExpectAgreement(state) => vec![state.job],
            Self::Established(state) => state
                .exchanges
                .values()
                .filter_map(QuickMode::job)
                .collect(),
            Self::ExpectKeyExchange(_) | Self::ExpectIdentity(_) => Vec::new(),
        }
    }

    /// Quick modes under way.
    pub(super) fn exchanges(&self) -> Vec<MessageId> {
        match self {
            Self::Established(state) => state.exchanges.keys().copied().collect(),
            Self::ExpectKeyExchange(_) | Self::ExpectAgreement(_) | Self::ExpectIdentity(_) => {
                Vec::new()
            }
        }
    }
}

impl Established {
    /// Decrypts and verifies the first message of an exchange under the IKE SA; what follows its HASH.
    pub(super) fn open_first(&self, header: &Header, body: &[u8]) -> Result<(Vec<u8>, Iv), Error> {
        let id = header.message_id;
        if self.used.contains(&id) {
            return Err(Misbehaved::Replay.into());
        }
        let iv = self.keys.exchange_iv(&self.last_block, id);
        let (bytes, next) = self.keys.open(&iv, body)?;
        let chain = decrypted_chain(header, &bytes)?;
        let (hash, rest) = split_hash(&chain)?;
        let expected = self.keys.skeyid.prf_a(&[&id.0.to_be_bytes(), rest.bytes()]);
        if !expected.matches(hash) {
            return Err(Misbehaved::Hash.into());
        }
        Ok((bytes, next))
    }
}
