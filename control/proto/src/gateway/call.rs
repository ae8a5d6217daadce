//! A call: one L2TP session with the PPP inside it, from ICRQ to CDN.

use std::net::Ipv4Addr;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::{Asker, Destination, Gateway, Note, Table};
use crate::job::JobDone;
use crate::l2tp::{self, SessionConnected, SessionKey, SessionOpened};
use crate::ppp;
use crate::rows::{Change, Phase, PppFraming, Sequencing, SessionRow, SessionSpec, SetId};
use crate::time::Time;
