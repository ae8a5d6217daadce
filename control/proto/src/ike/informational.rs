//! Informational exchanges: RFC 2409 §5.7, RFC 3706 (dead peer detection), and what they delete.
//!
//! Only a message under an IKE SA whose HASH verifies does anything; every other is dropped without a reply (RFC 2409 §5.7 leaves
//! unprotected ones to the receiver's judgement, and they are anybody's).

use std::net::SocketAddr;
use std::time::Duration;

use culvert_wire::id::Spi;
use culvert_wire::ike::{
    Chain, Cookie, Deletion, ExchangeType, MessageId, Notification, NotifyType, PayloadType,
    ProtocolId,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_core::CryptoRng;

use super::error::{Error, Misbehaved, notify_of};
use super::ike_sa::State;
use super::message::{decrypted_chain, split_hash};
use super::quick::under_ike_sa;
use super::responder::{Arrival, Responder};
use super::sets::{PairState, Peer, Set};
use super::timer::Timer;
use crate::rows::{Change, CoreId, Path, SetId};
use crate::time::Time;

/// How long packets on a deleted SA are still let in.
const LEAVING_FOR: Duration = Duration::from_secs(10);

/// A pair that is deleted, and what becomes of its set.
struct Found {
    set: SetId,
    inbound: Spi,
    rest: Rest,
}

/// What is left of a set without a pair.
enum Rest {
    /// Nothing that the peer has not deleted.
    Nothing,
    /// Another pair that the peer is known to have.
    Confirmed,
    /// Only pairs that the peer must have, since it has nothing else: this is the newest.
    Unconfirmed(Spi),
}

impl Responder {
    /// A protected informational message.
    pub(super) fn informational(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        arrival: &Arrival<'_>,
    ) -> Result<(), Error> {
        let sa = self.named(arrival)?;
        let cookie = sa.cookies.responder;
        under_ike_sa(arrival)?;
        let (bytes, _) = sa
            .established()?
            .open_first(&arrival.header, arrival.body)?;
        self.authenticated(cookie, arrival)?;
        let chain = decrypted_chain(&arrival.header, &bytes)?;
        let (_, rest) = split_hash(&chain)?;
        self.told(now, rng, cookie, &rest)
    }

    /// Follows what a peer tells us: payload by payload, as long as its IKE SA is there.
    fn told(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        chain: &Chain<'_>,
    ) -> Result<(), Error> {
        let mut asked = false;
        for payload in chain.iter() {
            match payload.kind {
                PayloadType::NOTIFICATION => {
                    let notification = Notification::parse(payload.body)?;
                    // One answer to a message, however often it asks.
                    let again = std::mem::replace(&mut asked, true);
                    if !(again && notification.kind == NotifyType::R_U_THERE) {
                        self.notified(rng, cookie, &notification);
                    }
                }
                PayloadType::DELETE => {
                    self.deleted(now, cookie, &Deletion::parse(payload.body)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Answers dead peer detection and follows INITIAL-CONTACT; other notifications are of no consequence.
    fn notified(
        &mut self,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        notification: &Notification<'_>,
    ) {
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return;
        };
        let (cookies, remote) = (sa.cookies.concat(), sa.path.remote);
        if notification.kind == NotifyType::INITIAL_CONTACT
            && let Some(peer) = sa.peer().cloned()
        {
            return self.initial_contact(&peer, cookie, remote);
        }
        // RFC 3706 §5.3: the SPI is both cookies, the data the sequence number.
        let asked = notification.kind == NotifyType::R_U_THERE
            && notification.spi == cookies
            && notification.data.len() == 4;
        if asked {
            let answer = Notification {
                kind: NotifyType::R_U_THERE_ACK,
                ..*notification
            };
            self.tell(rng, cookie, PayloadType::NOTIFICATION, |writer| {
                answer.emit(writer)
            });
        }
    }

    /// Follows a DELETE.
    fn deleted(&mut self, now: Time, cookie: Cookie, deletion: &Deletion<'_>) -> Result<(), Error> {
        for spi in deletion.spis() {
            match deletion.protocol {
                ProtocolId::ESP => {
                    if let Ok(spi) = <[u8; 4]>::try_from(spi) {
                        self.deleted_esp(now, cookie, Spi(u32::from_be_bytes(spi)))?;
                    }
                }
                ProtocolId::ISAKMP => {
                    if let Ok(cookies) = <[u8; 16]>::try_from(spi) {
                        self.deleted_isakmp(cookie, &cookies)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The peer no longer has an inbound SA, our outbound one: it has a newer, or none.
    fn deleted_esp(&mut self, now: Time, cookie: Cookie, outbound: Spi) -> Result<(), Error> {
        let Some(found) = self.find_outbound(cookie, outbound)? else {
            return Ok(());
        };
        match found.rest {
            Rest::Nothing => {
                self.drop_set(found.set);
                return Ok(());
            }
            Rest::Unconfirmed(newest) => self.confirm(newest),
            Rest::Confirmed => {}
        }
        self.change(Change::RemoveOutbound {
            set: found.set,
            outbound,
        });
        if let Some(pair) = self.sets.pair_mut(found.inbound) {
            pair.state = PairState::Leaving;
        }
        self.timers.set(Timer::Sa(found.inbound), now + LEAVING_FOR);
        Ok(())
    }

    /// The pair with this outbound SPI among the sets of an IKE SA's peer; `None` if there is none that is not deleted already.
    fn find_outbound(&self, cookie: Cookie, outbound: Spi) -> Result<Option<Found>, Error> {
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return Ok(None);
        };
        let peer = &sa.established()?.peer;
        let of_peer = self.sets.at(sa.path.remote).filter(|set| set.peer == *peer);
        let mut found = self
            .sets
            .of_ike_sa(cookie)
            .chain(of_peer)
            .filter_map(|set| {
                let present = set
                    .pairs
                    .iter()
                    .filter(|pair| pair.state != PairState::Leaving);
                let inbound = present
                    .clone()
                    .find(|pair| pair.outbound == outbound)?
                    .inbound;
                let mut others = present.filter(|pair| pair.inbound != inbound);
                let rest = match others.clone().next_back() {
                    None => Rest::Nothing,
                    Some(_) if others.any(|pair| pair.state == PairState::Confirmed) => {
                        Rest::Confirmed
                    }
                    Some(newest) => Rest::Unconfirmed(newest.inbound),
                };
                Some(Found {
                    set: set.id,
                    inbound,
                    rest,
                })
            });
        Ok(found.next())
    }

    /// The peer no longer has an IKE SA: this one, or another of its own at the same place.
    fn deleted_isakmp(&mut self, cookie: Cookie, cookies: &[u8; 16]) -> Result<(), Error> {
        let Some(sa) = self.ike_sas.get(&cookie) else {
            return Ok(());
        };
        let peer = sa.established()?.peer.clone();
        let mut ours = self.ike_sas_of(&peer, sa.path.remote);
        ours.push(cookie);
        let named = ours.into_iter().find(|other| {
            self.ike_sas
                .get(other)
                .is_some_and(|other| other.cookies.concat() == *cookies)
        });
        if let Some(named) = named {
            self.remove_ike_sa(named);
        }
        Ok(())
    }

    /// INITIAL-CONTACT under a verified HASH: whatever this peer had at this address and port before this IKE SA is gone.
    pub(super) fn initial_contact(&mut self, peer: &Peer, cookie: Cookie, remote: SocketAddr) {
        let own = |set: &&Set| set.pairs.iter().any(|pair| pair.ike_sa == cookie);
        let of_peer = self.sets.at(remote).filter(|set| set.peer == *peer);
        let stale: Vec<_> = of_peer.filter(|set| !own(set)).map(|set| set.id).collect();
        for set in stale {
            self.drop_set(set);
        }
        for other in self.ike_sas_of(peer, remote) {
            if other != cookie {
                self.remove_ike_sa(other);
            }
        }
    }

    /// Tells an established peer why its quick mode was refused.
    pub(super) fn notify(&mut self, rng: &mut dyn CryptoRng, cookie: Cookie, error: Error) {
        let Some(kind) = notify_of(error) else {
            return;
        };
        let notification = Notification {
            protocol: ProtocolId::ESP,
            kind,
            spi: &[],
            data: &[],
        };
        self.tell(rng, cookie, PayloadType::NOTIFICATION, |writer| {
            notification.emit(writer)
        });
    }

    /// Tells a peer that we no longer have an SA.
    pub(super) fn send_delete(
        &mut self,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        protocol: ProtocolId,
        spi: &[u8],
    ) {
        self.tell(rng, cookie, PayloadType::DELETE, |writer| {
            Deletion::emit_one(protocol, spi, writer)
        });
    }

    /// Ends an IKE SA; an established peer is told.
    pub(super) fn close_ike_sa(&mut self, rng: &mut dyn CryptoRng, cookie: Cookie) {
        if let Some(sa) = self.ike_sas.get(&cookie) {
            let cookies = sa.cookies.concat();
            self.send_delete(rng, cookie, ProtocolId::ISAKMP, &cookies);
        }
        self.remove_ike_sa(cookie);
    }

    /// The IKE SA under which a set's peer can be told something: of its newest SA, or the newest of the peer.
    pub(super) fn ike_sa_for(&self, set: &Set) -> Option<Cookie> {
        let of_pairs = set.pairs.iter().rev().map(|pair| pair.ike_sa);
        let alive = of_pairs
            .into_iter()
            .find(|cookie| self.ike_sas.contains_key(cookie));
        alive.or_else(|| self.ike_sas_of(&set.peer, set.path.remote).last().copied())
    }

    /// Sends one payload in an informational exchange of our own; nothing before the peer has proved itself.
    fn tell(
        &mut self,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        kind: PayloadType,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
    ) {
        let Ok((bytes, core, path)) = self.seal_own(rng, cookie, kind, write) else {
            return;
        };
        self.transmit(core, path, bytes);
    }

    fn seal_own(
        &mut self,
        rng: &mut dyn CryptoRng,
        cookie: Cookie,
        kind: PayloadType,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>,
    ) -> Result<(Vec<u8>, CoreId, Path), Error> {
        let sa = self.ike_sas.get_mut(&cookie).ok_or(Misbehaved::UnknownSa)?;
        let State::Established(established) = &mut sa.state else {
            return Err(Misbehaved::Unexpected.into());
        };
        let id = loop {
            let id = MessageId(rng.next_u32());
            if id != MessageId::PHASE_1 && established.used.insert(id) {
                break id;
            }
        };
        let iv = established.keys.exchange_iv(&established.last_block, id);
        let exchange = (ExchangeType::INFORMATIONAL, id);
        let (bytes, _) =
            established
                .keys
                .seal_hashed(sa.cookies, exchange, &iv, &[], |message| {
                    message.payload(kind, |writer| write(writer))
                })?;
        Ok((bytes, sa.core, sa.path))
    }
}
