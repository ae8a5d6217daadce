//! The settings of a simulated world: gateway, users, and what clients are like.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use culvert_bench::client::esp::Suite;
use culvert_bench::client::ike::keys::Cipher;
use culvert_bench::client::ike::proposal::IkeProposal;
use culvert_bench::client::ppp::Method;
use culvert_bench::client::{Credentials, Encapsulation, Profile};
use culvert_proto::gateway::Config;
use culvert_proto::ike::config::{CoreRows, CredentialId, Limits, Peers, Psk};
use culvert_proto::pool::{self, Pool};
use culvert_proto::rows::KeyMaterial;
use culvert_proto::users::{self, Entry, Users};
use culvert_proto::{ike, l2tp, ppp};

use super::network::Conditions;
use super::plane::{ROWS, SHARDS};
use super::{PPP_GATEWAY, Restore};

/// The right pre-shared key.
pub const PSK: &[u8] = b"a long enough key for the simulator";
/// Name server that clients are told.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 53);

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Setting {
    /// All that is random follows from it.
    pub seed: u64,
    /// The network.
    pub conditions: Conditions,
    /// Whether the gateway's machines are saved and restored.
    pub restore: Restore,
    /// How long a Diffie–Hellman or password job takes.
    pub work: Range<Duration>,
    /// Addresses for clients.
    pub pool: u8,
    /// MRU of the gateway, in bytes.
    pub mru: u16,
    /// Who may log in.
    pub users: Vec<Entry>,
}

impl Setting {
    /// A good network, 200 users with reversible secrets, and an address for each.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            conditions: Conditions::GOOD,
            restore: Restore::Never,
            work: Duration::from_micros(500)..Duration::from_millis(5),
            pool: 250,
            mru: 1_400,
            users: (0..200).map(user).collect(),
        }
    }

    /// The same with a gateway whose machines are saved and restored after one input in `inputs`.
    #[must_use]
    pub fn restored_every(self, inputs: u32) -> Self {
        Self {
            restore: Restore::OneIn(inputs),
            ..self
        }
    }

    /// The same over another network.
    #[must_use]
    pub fn over(self, conditions: Conditions) -> Self {
        Self { conditions, ..self }
    }

    /// The users, as they are read anew after a restore.
    ///
    /// # Panics
    /// If an entry is wrong.
    pub fn users(&self) -> Users {
        Users::new(self.users.clone()).expect("entries of the test")
    }

    /// The gateway's configuration.
    ///
    /// # Panics
    /// If there are no addresses.
    pub fn config(&self) -> Config {
        let psk = Psk {
            credential: CredentialId(0),
            peers: Peers::Any,
            key: KeyMaterial::new(PSK.to_vec().into()),
        };
        let range = pool::Range {
            first: Ipv4Addr::new(10, 64, 0, 2),
            last: Ipv4Addr::new(10, 64, 0, self.pool + 1),
        };
        Config {
            ike: ike::Config {
                psks: vec![psk],
                gates: Vec::new(),
                cores: vec![CoreRows {
                    shards: 0..SHARDS,
                    sets: ROWS,
                }],
                limits: Limits::default(),
            },
            l2tp: l2tp::Config::default(),
            ppp: ppp::Config {
                mru: self.mru,
                methods: vec![
                    users::Method::MsChapV2,
                    users::Method::ChapMd5,
                    users::Method::Pap,
                ],
                gateway: PPP_GATEWAY,
                dns: vec![DNS],
                ..ppp::Config::default()
            },
            users: self.users(),
            pool: Pool::new(&[range], PPP_GATEWAY, &[], &[]).expect("one range"),
            sessions: ROWS,
        }
    }
}

/// A user with the secret itself stored.
pub fn user(number: usize) -> Entry {
    entry(&format!("user-{number}"), "secret", &password(number))
}

/// A user of whom `stored` is kept under the key `kind` of the users file.
///
/// # Panics
/// If there is no such kind.
pub fn entry(name: &str, kind: &str, stored: &str) -> Entry {
    let entry = serde_json::json!({ "name": name, kind: stored });
    serde_json::from_value(entry).expect("an entry as the users file has it")
}

/// The password of [`user`].
pub fn password(number: usize) -> String {
    format!("pass-Word.{number}")
}

/// What [`user`] logs in with.
pub fn credentials(number: usize) -> Arc<Credentials> {
    Arc::new(Credentials {
        user: format!("user-{number}"),
        password: password(number),
    })
}

/// A client with ECP-256, AES-GCM-128 and MS-CHAPv2.
pub fn profile() -> Profile {
    Profile {
        psk: PSK.to_vec(),
        ike: vec![IkeProposal::default()],
        esp: Suite::Gcm(Cipher::Aes128),
        encapsulation: Encapsulation::AsNeeded,
        l2tp_port: 1701,
        mru: 1_400,
        methods: vec![Method::MsChapV2],
    }
}
