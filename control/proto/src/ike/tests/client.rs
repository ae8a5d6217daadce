//! An initiator of the tests' own: it builds every message from its payloads, so that tests can spoil each of them.

use std::net::{IpAddr, SocketAddr};

use culvert_wire::id::Spi;
use culvert_wire::ike::{
    Attribute, Chain, Cookie, Deletion, ExchangeType, Flags, Header, IdType, Identification,
    MessageId, MessageWriter, Notification, NotifyType, PayloadType, ProposalSpec, ProtocolId, Sa,
    TransformSpec, VendorId, Version,
};
use culvert_wire::writer::{Overflow, Writer};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::crypto::cipher::{Cipher, Iv};
use crate::crypto::dh::{self, Group, Private};
use crate::crypto::hash::Hash;
use crate::crypto::skeyid::{Exchange, QuickMode, Skeyid, exchange_iv, first_iv};
use crate::rows::Path;

/// A payload as it will be sent.
pub(super) type Part = (PayloadType, Vec<u8>);

/// Algorithms of a phase 1 transform by our names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase1(pub(super) Cipher, pub(super) Hash, pub(super) Group);

/// A phase 2 transform by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase2 {
    pub(super) transform: u8,
    pub(super) key_bits: u16,
    pub(super) integrity: u16,
    pub(super) mode: u16,
    pub(super) group: Option<Group>,
    pub(super) seconds: u16,
}

/// AES-GCM-128 in transport mode, an hour.
pub(super) const GCM: Phase2 = Phase2 {
    transform: 20,
    key_bits: 128,
    integrity: 0,
    mode: 2,
    group: None,
    seconds: 3_600,
};

/// The initiator.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The path as the responder sees it.
    pub(super) path: Path,
    /// Where the client believes to be.
    pub(super) own: SocketAddr,
    pub(super) psk: Vec<u8>,
    pub(super) offers: Vec<Phase1>,
    pub(super) vendors: Vec<VendorId<'static>>,
    pub(super) identity: (IdType, Vec<u8>),
    pub(super) initial_contact: bool,
    pub(super) port: u16,
    pub(super) rng: ChaCha8Rng,
    pub(super) cookies: (Cookie, Cookie),
    nonce: Vec<u8>,
    offered: Vec<u8>,
    chosen: Option<Phase1>,
    private: Option<Private>,
    public: Vec<u8>,
    peer_public: Vec<u8>,
    pub(super) skeyid: Option<Skeyid>,
    iv: Option<Iv>,
    last_block: Option<Iv>,
}

/// A quick mode under way.
#[derive(Clone, Debug)]
pub(super) struct Quick {
    pub(super) id: MessageId,
    pub(super) spi: Spi,
    spec: Phase2,
    nonce: Vec<u8>,
    private: Option<Private>,
    iv: Iv,
}

/// What a finished quick mode gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The responder's SPI.
    pub(super) theirs: Spi,
    pub(super) ours: Spi,
    /// Key material of packets to the responder.
    pub(super) to_them: Vec<u8>,
    pub(super) to_us: Vec<u8>,
}

impl Client {
    pub(super) fn new(seed: u64, remote: &str) -> Self {
        let remote: SocketAddr = remote.parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xC11E_2700);
        let cookie = Cookie(rng.next_u64().to_be_bytes());
        Self {
            path: Path {
                local: "198.51.100.10:500".parse().unwrap(),
                remote,
            },
            own: remote,
            psk: b"correct horse battery staple".to_vec(),
            offers: vec![Phase1(Cipher::Aes256, Hash::Sha2_256, Group::Ecp256)],
            vendors: vec![VendorId::RFC_3947, VendorId::DPD, VendorId::XAUTH],
            identity: (IdType::IPV4, octets(remote.ip())),
            initial_contact: false,
            port: 1_701,
            rng,
            cookies: (cookie, Cookie::ZERO),
            nonce: vec![0x4E; 20],
            offered: Vec::new(),
            chosen: None,
            private: None,
            public: Vec::new(),
            peer_public: Vec::new(),
            skeyid: None,
            iv: None,
            last_block: None,
        }
    }

    /// Puts the client behind a NAT: it has another address than the responder sees.
    pub(super) fn behind_nat(mut self, own: &str) -> Self {
        self.own = own.parse().unwrap();
        self.identity = (IdType::IPV4, octets(self.own.ip()));
        self
    }

    pub(super) fn message_1_parts(&mut self) -> Vec<Part> {
        let offers = self.offers.clone();
        self.offered = body(|writer| emit_phase1(&offers, writer));
        let vendors = self
            .vendors
            .iter()
            .map(|v| (PayloadType::VENDOR_ID, v.0.to_vec()));
        [(PayloadType::SA, self.offered.clone())]
            .into_iter()
            .chain(vendors)
            .collect()
    }

    pub(super) fn message_1(&mut self) -> Vec<u8> {
        let parts = self.message_1_parts();
        self.clear(&parts)
    }

    /// Reads message 2.
    pub(super) fn read_message_2(&mut self, bytes: &[u8]) {
        let (header, body) = Header::split(bytes).unwrap();
        assert_eq!(header.initiator, self.cookies.0);
        self.cookies.1 = header.responder;
        let chain = Chain::parse(header.next, body).unwrap();
        let sa = Sa::parse(chain.only(PayloadType::SA).unwrap()).unwrap();
        let transform = sa.proposals().next().unwrap().transforms().next().unwrap();
        let chosen = self.offers[usize::from(transform.number) - 1];
        self.chosen = Some(chosen);
        let (private, public) = dh::generate(chosen.2, &mut self.rng);
        self.private = Some(private);
        self.public = public;
    }

    pub(super) fn message_3_parts(&self) -> Vec<Part> {
        let mut parts = vec![
            (PayloadType::KEY_EXCHANGE, self.public.clone()),
            (PayloadType::NONCE, self.nonce.clone()),
        ];
        let kind = self.discovery_kind();
        for end in [self.path.local, self.own] {
            parts.push((kind, self.discovery(end)));
        }
        parts
    }

    pub(super) fn message_3(&self) -> Vec<u8> {
        self.clear(&self.message_3_parts())
    }

    /// Reads message 4; floats if there is a NAT.
    pub(super) fn read_message_4(&mut self, bytes: &[u8]) {
        let (header, body) = Header::split(bytes).unwrap();
        let chain = Chain::parse(header.next, body).unwrap();
        let Phase1(cipher, hash, _) = self.chosen.unwrap();
        self.peer_public = chain.only(PayloadType::KEY_EXCHANGE).unwrap().to_vec();
        let shared = dh::agree(self.private.as_ref().unwrap(), &self.peer_public).unwrap();
        let exchange = Exchange {
            initiator_cookie: self.cookies.0.0,
            responder_cookie: self.cookies.1.0,
            initiator_nonce: &self.nonce,
            responder_nonce: chain.only(PayloadType::NONCE).unwrap(),
        };
        self.skeyid = Some(Skeyid::from_psk(hash, &self.psk, &exchange, &shared));
        self.iv = Some(first_iv(hash, cipher, &self.public, &self.peer_public));
        let ends: Vec<_> = chain
            .all(self.discovery_kind())
            .map(<[u8]>::to_vec)
            .collect();
        if !ends.is_empty() {
            assert_eq!(ends[1], self.discovery(self.path.local));
            if ends[0] != self.discovery(self.own) {
                self.path.local.set_port(4_500);
                self.own.set_port(4_500);
                let port = self.path.remote.port();
                self.path
                    .remote
                    .set_port(if port == 500 { 4_500 } else { port + 1 });
            }
        }
    }

    pub(super) fn message_5_parts(&self) -> Vec<Part> {
        let (kind, data) = &self.identity;
        let id = Identification {
            kind: *kind,
            protocol: 17,
            port: 500,
            data,
        };
        let id = body(|writer| id.emit(writer));
        let hash = self.skeyid.as_ref().unwrap().prf(&[
            &self.public,
            &self.peer_public,
            &self.cookies.0.0,
            &self.cookies.1.0,
            &self.offered,
            &id,
        ]);
        let mut parts = vec![
            (PayloadType::IDENTIFICATION, id),
            (PayloadType::HASH, hash.as_bytes().to_vec()),
        ];
        if self.initial_contact {
            let spi = self.both_cookies();
            let notification = Notification {
                protocol: ProtocolId::ISAKMP,
                kind: NotifyType::INITIAL_CONTACT,
                spi: &spi,
                data: &[],
            };
            parts.push((PayloadType::NOTIFICATION, body(|w| notification.emit(w))));
        }
        parts
    }

    pub(super) fn message_5(&mut self) -> Vec<u8> {
        let parts = self.message_5_parts();
        let iv = self.iv.unwrap();
        let (bytes, next) = self.seal(ExchangeType::MAIN_MODE, MessageId::PHASE_1, &iv, &parts);
        self.last_block = Some(next);
        bytes
    }

    /// Seals spoilt parts as message 5, without taking note of it.
    pub(super) fn message_5_of(&self, parts: &[Part]) -> Vec<u8> {
        self.seal(
            ExchangeType::MAIN_MODE,
            MessageId::PHASE_1,
            &self.iv.unwrap(),
            parts,
        )
        .0
    }

    /// Verifies message 6.
    pub(super) fn read_message_6(&mut self, bytes: &[u8]) {
        let iv = self.last_block.unwrap();
        let (plain, next) = self.open(&iv, bytes);
        let (header, _) = Header::split(bytes).unwrap();
        let chain = Chain::parse(header.next, &plain).unwrap();
        let id = chain.only(PayloadType::IDENTIFICATION).unwrap();
        let hash = self.skeyid.as_ref().unwrap().prf(&[
            &self.peer_public,
            &self.public,
            &self.cookies.1.0,
            &self.cookies.0.0,
            &self.offered,
            id,
        ]);
        assert!(
            hash.matches(chain.only(PayloadType::HASH).unwrap()),
            "HASH_R is wrong"
        );
        self.last_block = Some(next);
    }

    /// Payloads of quick mode's first message behind its hash.
    pub(super) fn quick_parts(&mut self, spec: Phase2) -> (Vec<Part>, Quick) {
        let spi = Spi(self.rng.next_u32() | 0x1000);
        let id = MessageId(self.rng.next_u32() | 1);
        let mut nonce = vec![0; 24];
        self.rng.fill_bytes(&mut nonce);
        let sa = body(|writer| emit_phase2(&spec, spi, writer));
        let mut parts = vec![(PayloadType::SA, sa), (PayloadType::NONCE, nonce.clone())];
        let private = spec.group.map(|group| {
            let (private, public) = dh::generate(group, &mut self.rng);
            parts.push((PayloadType::KEY_EXCHANGE, public));
            private
        });
        let ours = (IdType::IPV4, octets(self.own.ip()), self.port);
        let theirs = (IdType::IPV4, octets(self.path.local.ip()), 1_701);
        for (kind, data, port) in [ours, theirs] {
            let id = Identification {
                kind,
                protocol: 17,
                port,
                data: &data,
            };
            parts.push((PayloadType::IDENTIFICATION, body(|writer| id.emit(writer))));
        }
        if spec.mode > 2 {
            for ip in [self.own.ip(), self.path.local.ip()] {
                let kind = if spec.mode > 4 {
                    PayloadType::NAT_OA_DRAFT
                } else {
                    PayloadType::NAT_OA
                };
                parts.push((kind, [vec![1, 0, 0, 0], octets(ip)].concat()));
            }
        }
        let Phase1(cipher, hash, _) = self.chosen.unwrap();
        let iv = exchange_iv(hash, cipher, &self.last_block.unwrap(), id.0);
        (
            parts,
            Quick {
                id,
                spi,
                spec,
                nonce,
                private,
                iv,
            },
        )
    }

    pub(super) fn quick_1(&mut self, spec: Phase2) -> (Vec<u8>, Quick) {
        let (parts, mut quick) = self.quick_parts(spec);
        let (bytes, iv) = self.seal_hashed(ExchangeType::QUICK_MODE, quick.id, &quick.iv, &parts);
        quick.iv = iv;
        (bytes, quick)
    }

    /// Seals given payloads as quick mode's first message, with a right hash.
    pub(super) fn quick_of(&self, quick: &Quick, parts: &[Part]) -> Vec<u8> {
        self.seal_hashed(ExchangeType::QUICK_MODE, quick.id, &quick.iv, parts)
            .0
    }

    /// Seals given payloads, hash included, as quick mode's first message.
    pub(super) fn quick_raw(&self, quick: &Quick, parts: &[Part]) -> Vec<u8> {
        self.seal(ExchangeType::QUICK_MODE, quick.id, &quick.iv, parts)
            .0
    }

    /// The HASH payload in front of given payloads.
    pub(super) fn hash_of(&self, id: MessageId, parts: &[Part]) -> Part {
        let clear = self.clear_in(ExchangeType::QUICK_MODE, id, parts);
        let skeyid = self.skeyid.as_ref().unwrap();
        let hash = skeyid.prf_a(&[&id.0.to_be_bytes(), &clear[Header::LEN..]]);
        (PayloadType::HASH, hash.as_bytes().to_vec())
    }

    /// Whether the client has come as far as message 5.
    pub(super) const fn is_ready(&self) -> bool {
        self.last_block.is_some()
    }

    /// Verifies message 2; gives message 3 and the pair.
    pub(super) fn quick_3(&self, quick: &Quick, bytes: &[u8]) -> (Vec<u8>, Pair) {
        let skeyid = self.skeyid.as_ref().unwrap();
        let (plain, iv) = self.open(&quick.iv, bytes);
        let (header, _) = Header::split(bytes).unwrap();
        assert_eq!(header.message_id, quick.id);
        let chain = Chain::parse(header.next, &plain).unwrap();
        let (hash, rest) = chain.split_first().unwrap();
        let id = quick.id.0.to_be_bytes();
        let expected = skeyid.prf_a(&[&id, &quick.nonce, rest.bytes()]);
        assert!(expected.matches(hash.body), "HASH(2) is wrong");
        let sa = Sa::parse(rest.only(PayloadType::SA).unwrap()).unwrap();
        let theirs = Spi(sa.proposals().next().unwrap().esp_spi().unwrap());
        let nonce = rest.only(PayloadType::NONCE).unwrap();
        let shared = quick.private.as_ref().map(|private| {
            dh::agree(private, rest.only(PayloadType::KEY_EXCHANGE).unwrap()).unwrap()
        });
        let keys = |spi: Spi| {
            let quick_mode = QuickMode {
                protocol: 3,
                spi: spi.0,
                initiator_nonce: &quick.nonce,
                responder_nonce: nonce,
                shared_secret: shared.as_ref(),
            };
            skeyid
                .keymat(&quick_mode, quick.spec.key_len())
                .expose()
                .to_vec()
        };
        let hash = skeyid.prf_a(&[&[0], &id, &quick.nonce, nonce]);
        let parts = [(PayloadType::HASH, hash.as_bytes().to_vec())];
        let (bytes, _) = self.seal(ExchangeType::QUICK_MODE, quick.id, &iv, &parts);
        let pair = Pair {
            theirs,
            ours: quick.spi,
            to_them: keys(theirs),
            to_us: keys(quick.spi),
        };
        (bytes, pair)
    }

    /// Seals an informational message with a right hash.
    pub(super) fn informational(&mut self, parts: &[Part]) -> Vec<u8> {
        let id = MessageId(self.rng.next_u32() | 1);
        let iv = self.informational_iv(id);
        self.seal_hashed(ExchangeType::INFORMATIONAL, id, &iv, parts)
            .0
    }

    /// Seals an informational message with a hash of zeros.
    pub(super) fn informational_unhashed(&mut self, parts: &[Part]) -> Vec<u8> {
        let id = MessageId(self.rng.next_u32() | 1);
        let iv = self.informational_iv(id);
        let len = self.chosen.unwrap().1.output_len();
        let all: Vec<_> = [(PayloadType::HASH, vec![0; len])]
            .into_iter()
            .chain(parts.iter().cloned())
            .collect();
        self.seal(ExchangeType::INFORMATIONAL, id, &iv, &all).0
    }

    /// Verifies an informational message; its payloads behind the hash.
    pub(super) fn read_informational(&self, bytes: &[u8]) -> Vec<Part> {
        let (header, _) = Header::split(bytes).unwrap();
        assert_eq!(header.exchange, ExchangeType::INFORMATIONAL);
        let (plain, _) = self.open(&self.informational_iv(header.message_id), bytes);
        let chain = Chain::parse(header.next, &plain).unwrap();
        let (hash, rest) = chain.split_first().unwrap();
        let id = header.message_id.0.to_be_bytes();
        let expected = self.skeyid.as_ref().unwrap().prf_a(&[&id, rest.bytes()]);
        assert!(
            expected.matches(hash.body),
            "HASH of an informational message is wrong"
        );
        rest.iter()
            .map(|payload| (payload.kind, payload.body.to_vec()))
            .collect()
    }

    pub(super) fn delete_esp(&self, spi: Spi) -> Part {
        let spi = spi.0.to_be_bytes();
        (
            PayloadType::DELETE,
            body(|w| Deletion::emit_one(ProtocolId::ESP, &spi, w)),
        )
    }

    pub(super) fn delete_isakmp(&self) -> Part {
        let spi = self.both_cookies();
        (
            PayloadType::DELETE,
            body(|w| Deletion::emit_one(ProtocolId::ISAKMP, &spi, w)),
        )
    }

    pub(super) fn notification(&self, kind: NotifyType, data: &[u8]) -> Part {
        let spi = self.both_cookies();
        let notification = Notification {
            protocol: ProtocolId::ISAKMP,
            kind,
            spi: &spi,
            data,
        };
        (PayloadType::NOTIFICATION, body(|w| notification.emit(w)))
    }

    /// A message in clear under the present cookies.
    pub(super) fn clear(&self, parts: &[Part]) -> Vec<u8> {
        self.clear_in(ExchangeType::MAIN_MODE, MessageId::PHASE_1, parts)
    }

    pub(super) fn clear_in(
        &self,
        exchange: ExchangeType,
        id: MessageId,
        parts: &[Part],
    ) -> Vec<u8> {
        let mut buffer = vec![0; 8_192];
        let header = self.header(exchange, id, Flags::default());
        let mut message = MessageWriter::new(&mut buffer, &header).unwrap();
        for (kind, body) in parts {
            message.put(*kind, body).unwrap();
        }
        let len = message.finish().unwrap();
        buffer[..len].to_vec()
    }

    pub(super) fn seal_hashed(
        &self,
        exchange: ExchangeType,
        id: MessageId,
        iv: &Iv,
        parts: &[Part],
    ) -> (Vec<u8>, Iv) {
        let hash = self.hash_of(id, parts);
        let all: Vec<_> = std::iter::once(hash).chain(parts.iter().cloned()).collect();
        self.seal(exchange, id, iv, &all)
    }

    pub(super) fn seal(
        &self,
        exchange: ExchangeType,
        id: MessageId,
        iv: &Iv,
        parts: &[Part],
    ) -> (Vec<u8>, Iv) {
        let Phase1(cipher, ..) = self.chosen.unwrap();
        let mut buffer = vec![0; 8_192];
        let header = self.header(exchange, id, Flags::ENCRYPTED);
        let mut message = MessageWriter::new(&mut buffer, &header).unwrap();
        for (kind, body) in parts {
            message.put(*kind, body).unwrap();
        }
        let len = message.finish_padded(cipher.block_len()).unwrap();
        buffer.truncate(len);
        let key = self.skeyid.as_ref().unwrap().cipher_key(cipher);
        let next = cipher
            .encrypt(key.expose(), iv, &mut buffer[Header::LEN..])
            .unwrap();
        (buffer, next)
    }

    fn open(&self, iv: &Iv, bytes: &[u8]) -> (Vec<u8>, Iv) {
        let Phase1(cipher, ..) = self.chosen.unwrap();
        let key = self.skeyid.as_ref().unwrap().cipher_key(cipher);
        let mut plain = bytes[Header::LEN..].to_vec();
        let next = cipher.decrypt(key.expose(), iv, &mut plain).unwrap();
        (plain, next)
    }

    fn informational_iv(&self, id: MessageId) -> Iv {
        let Phase1(cipher, hash, _) = self.chosen.unwrap();
        exchange_iv(hash, cipher, &self.last_block.unwrap(), id.0)
    }

    fn header(&self, exchange: ExchangeType, message_id: MessageId, flags: Flags) -> Header {
        Header {
            initiator: self.cookies.0,
            responder: self.cookies.1,
            next: PayloadType::NONE,
            version: Version::V1_0,
            exchange,
            flags,
            message_id,
        }
    }

    fn both_cookies(&self) -> Vec<u8> {
        [self.cookies.0.0, self.cookies.1.0].concat()
    }

    fn discovery_kind(&self) -> PayloadType {
        if self.vendors.contains(&VendorId::RFC_3947) {
            PayloadType::NAT_D
        } else {
            PayloadType::NAT_D_DRAFT
        }
    }

    fn discovery(&self, end: SocketAddr) -> Vec<u8> {
        let parts = [
            self.both_cookies(),
            octets(end.ip()),
            end.port().to_be_bytes().to_vec(),
        ];
        self.chosen
            .unwrap()
            .1
            .digest(&[&parts.concat()])
            .as_bytes()
            .to_vec()
    }
}

impl Phase2 {
    /// Bytes of key material, from the RFCs rather than from the code under test.
    pub(super) fn key_len(self) -> usize {
        let cipher = usize::from(self.key_bits) / 8;
        match (self.transform, self.integrity) {
            (20, 0) => cipher + 4,
            (12, 2) => cipher + 20,
            (12, 5) => cipher + 32,
            other => panic!("no key length for {other:?}"),
        }
    }
}

pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(super) fn body(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.written().to_vec()
}

fn emit_phase1(offers: &[Phase1], writer: &mut Writer<'_>) -> Result<(), Overflow> {
    let attributes: Vec<_> = offers
        .iter()
        .map(|offer| phase1_attributes(*offer))
        .collect();
    let transforms: Vec<_> = (1..)
        .zip(&attributes)
        .map(|(number, attributes)| TransformSpec {
            number,
            id: 1,
            attributes,
        })
        .collect();
    let proposal = ProposalSpec {
        number: 1,
        protocol: ProtocolId::ISAKMP,
        spi: &[],
        transforms: &transforms,
    };
    Sa::emit(&[proposal], writer)
}

pub(super) fn phase1_attributes(Phase1(cipher, hash, group): Phase1) -> Vec<Attribute<'static>> {
    let short = |class, value| Attribute::Short { class, value };
    let (number, bits) = match cipher {
        Cipher::TripleDes => (5, None),
        Cipher::Aes128 => (7, Some(128)),
        Cipher::Aes192 => (7, Some(192)),
        Cipher::Aes256 => (7, Some(256)),
    };
    let hash = match hash {
        Hash::Sha1 => 2,
        Hash::Sha2_256 => 4,
        Hash::Sha2_384 => 5,
        Hash::Sha2_512 => 6,
    };
    let mut attributes = vec![short(1, number)];
    attributes.extend(bits.map(|bits| short(14, bits)));
    attributes.extend([
        short(2, hash),
        short(4, group.number()),
        short(3, 1),
        short(11, 1),
    ]);
    attributes.push(Attribute::Long {
        class: 12,
        value: &[0, 0, 0x70, 0x80],
    });
    attributes
}

fn emit_phase2(spec: &Phase2, spi: Spi, writer: &mut Writer<'_>) -> Result<(), Overflow> {
    let short = |class, value| Attribute::Short { class, value };
    let mut attributes = vec![short(4, spec.mode), short(1, 1), short(2, spec.seconds)];
    if spec.key_bits > 0 {
        attributes.push(short(6, spec.key_bits));
    }
    if spec.integrity > 0 {
        attributes.push(short(5, spec.integrity));
    }
    attributes.extend(spec.group.map(|group| short(3, group.number())));
    let transforms = [TransformSpec {
        number: 1,
        id: spec.transform,
        attributes: &attributes,
    }];
    let proposal = ProposalSpec {
        number: 1,
        protocol: ProtocolId::ESP,
        spi: &spi.0.to_be_bytes(),
        transforms: &transforms,
    };
    Sa::emit(&[proposal], writer)
}
