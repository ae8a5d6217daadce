//! Assigned numbers of ISAKMP and IPsec as open enums: a newtype with constants, so that unknown values survive.
//!
//! RFC 2408 §3, RFC 2409 appendix A, RFC 2407 §4.4–§4.6, RFC 3947, RFC 3706, RFC 4868, RFC 4106, RFC 5903.

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$const_doc:meta])* $const:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$const_doc])* pub const $const: Self = Self($value);)*
        }
    };
}

open_enum! {
    /// Kind of a payload, as the next-payload field names it (RFC 2408 §3.1).
    PayloadType(u8) {
        /// End of the chain.
        NONE = 0,
        /// Security association.
        SA = 1,
        /// Proposal; only inside an SA payload.
        PROPOSAL = 2,
        /// Transform; only inside a proposal.
        TRANSFORM = 3,
        /// Key exchange.
        KEY_EXCHANGE = 4,
        /// Identification.
        IDENTIFICATION = 5,
        /// Certificate.
        CERTIFICATE = 6,
        /// Certificate request.
        CERTIFICATE_REQUEST = 7,
        /// Hash.
        HASH = 8,
        /// Signature.
        SIGNATURE = 9,
        /// Nonce.
        NONCE = 10,
        /// Notification.
        NOTIFICATION = 11,
        /// Delete.
        DELETE = 12,
        /// Vendor ID.
        VENDOR_ID = 13,
        /// Configuration attributes (XAuth, mode config).
        ATTRIBUTES = 14,
        /// NAT discovery (RFC 3947 §3.2).
        NAT_D = 20,
        /// NAT original address (RFC 3947 §5.2).
        NAT_OA = 21,
        /// NAT discovery in drafts 00 to 03 of RFC 3947.
        NAT_D_DRAFT = 130,
        /// NAT original address in drafts 00 to 03 of RFC 3947.
        NAT_OA_DRAFT = 131,
        /// IKE fragment (Microsoft, Cisco).
        FRAGMENT = 132,
    }
}

open_enum! {
    /// Exchange type (RFC 2408 §3.1, RFC 2409 appendix A).
    ExchangeType(u8) {
        /// Identity protection: main mode.
        MAIN_MODE = 2,
        /// Aggressive mode.
        AGGRESSIVE = 4,
        /// Informational.
        INFORMATIONAL = 5,
        /// Configuration: XAuth and mode config.
        TRANSACTION = 6,
        /// Quick mode.
        QUICK_MODE = 32,
        /// New group mode.
        NEW_GROUP_MODE = 33,
    }
}

open_enum! {
    /// Protocol of a proposal, notification or delete (RFC 2407 §4.4.1).
    ProtocolId(u8) {
        /// ISAKMP itself.
        ISAKMP = 1,
        /// Authentication header.
        AH = 2,
        /// Encapsulating security payload.
        ESP = 3,
        /// IP compression.
        IPCOMP = 4,
    }
}

open_enum! {
    /// Attribute class of a phase 1 transform (RFC 2409 appendix A).
    OakleyAttribute(u16) {
        /// Encryption algorithm: [`Cipher`].
        ENCRYPTION = 1,
        /// Hash algorithm: [`Hash`](struct@Hash).
        HASH = 2,
        /// Authentication method: [`AuthenticationMethod`].
        AUTHENTICATION_METHOD = 3,
        /// Group description: [`Group`].
        GROUP_DESCRIPTION = 4,
        /// Group type.
        GROUP_TYPE = 5,
        /// Life type: [`LifeType`] of the duration that follows.
        LIFE_TYPE = 11,
        /// Life duration.
        LIFE_DURATION = 12,
        /// Pseudo-random function.
        PRF = 13,
        /// Key length in bits.
        KEY_LENGTH = 14,
    }
}

open_enum! {
    /// Phase 1 encryption algorithm (RFC 2409 appendix A, RFC 3602).
    Cipher(u16) {
        /// DES-CBC.
        DES_CBC = 1,
        /// 3DES-CBC.
        TRIPLE_DES_CBC = 5,
        /// AES-CBC, with a key length.
        AES_CBC = 7,
    }
}

open_enum! {
    /// Phase 1 hash algorithm (RFC 2409 appendix A, RFC 4868).
    Hash(u16) {
        /// MD5.
        MD5 = 1,
        /// SHA-1.
        SHA1 = 2,
        /// SHA2-256.
        SHA2_256 = 4,
        /// SHA2-384.
        SHA2_384 = 5,
        /// SHA2-512.
        SHA2_512 = 6,
    }
}

open_enum! {
    /// Phase 1 authentication method (RFC 2409 appendix A).
    AuthenticationMethod(u16) {
        /// Pre-shared key.
        PRE_SHARED_KEY = 1,
        /// DSS signatures.
        DSS = 2,
        /// RSA signatures.
        RSA_SIGNATURE = 3,
        /// Encryption with RSA.
        RSA_ENCRYPTION = 4,
        /// Revised encryption with RSA.
        RSA_REVISED_ENCRYPTION = 5,
        /// Pre-shared key with XAuth asked of the initiator.
        XAUTH_INITIATOR_PRE_SHARED_KEY = 65001,
    }
}

open_enum! {
    /// Diffie-Hellman group (RFC 2409 §6, RFC 3526, RFC 5903).
    Group(u16) {
        /// 768-bit MODP.
        MODP_768 = 1,
        /// 1,024-bit MODP.
        MODP_1024 = 2,
        /// 1,536-bit MODP.
        MODP_1536 = 5,
        /// 2,048-bit MODP.
        MODP_2048 = 14,
        /// 3,072-bit MODP.
        MODP_3072 = 15,
        /// 4,096-bit MODP.
        MODP_4096 = 16,
        /// 256-bit random ECP.
        ECP_256 = 19,
        /// 384-bit random ECP.
        ECP_384 = 20,
        /// 521-bit random ECP.
        ECP_521 = 21,
    }
}

open_enum! {
    /// Unit of a life duration (RFC 2409 appendix A, RFC 2407 §4.5).
    LifeType(u16) {
        /// Seconds.
        SECONDS = 1,
        /// Kilobytes of 1,024 bytes.
        KILOBYTES = 2,
    }
}

open_enum! {
    /// Transform of an ESP proposal (RFC 2407 §4.4.4, RFC 4106).
    EspTransform(u8) {
        /// DES-CBC.
        DES = 2,
        /// 3DES-CBC.
        TRIPLE_DES = 3,
        /// No encryption.
        NULL = 11,
        /// AES-CBC.
        AES_CBC = 12,
        /// AES-CTR.
        AES_CTR = 13,
        /// AES-GCM with an 8-byte ICV.
        AES_GCM_8 = 18,
        /// AES-GCM with a 12-byte ICV.
        AES_GCM_12 = 19,
        /// AES-GCM with a 16-byte ICV.
        AES_GCM_16 = 20,
        /// AES-GMAC without encryption.
        NULL_AES_GMAC = 23,
    }
}

impl EspTransform {
    /// Number of phase 1's only transform, KEY_IKE (RFC 2407 §4.4.2).
    pub const KEY_IKE: u8 = 1;
}

open_enum! {
    /// Attribute class of a phase 2 transform (RFC 2407 §4.5).
    IpsecAttribute(u16) {
        /// Life type: [`LifeType`] of the duration that follows.
        LIFE_TYPE = 1,
        /// Life duration.
        LIFE_DURATION = 2,
        /// Group for perfect forward secrecy: [`Group`].
        GROUP_DESCRIPTION = 3,
        /// Encapsulation mode: [`EncapsulationMode`].
        ENCAPSULATION_MODE = 4,
        /// Integrity algorithm: [`Integrity`].
        INTEGRITY = 5,
        /// Key length in bits.
        KEY_LENGTH = 6,
        /// Key rounds.
        KEY_ROUNDS = 7,
        /// Whether sequence numbers have 64 bits (RFC 4304).
        EXTENDED_SEQUENCE_NUMBER = 11,
    }
}

open_enum! {
    /// Encapsulation mode of an IPsec SA (RFC 2407 §4.5, RFC 3947 §5.1).
    EncapsulationMode(u16) {
        /// Tunnel.
        TUNNEL = 1,
        /// Transport.
        TRANSPORT = 2,
        /// Tunnel in UDP.
        UDP_TUNNEL = 3,
        /// Transport in UDP.
        UDP_TRANSPORT = 4,
        /// Tunnel in UDP, drafts of RFC 3947.
        UDP_TUNNEL_DRAFT = 61443,
        /// Transport in UDP, drafts of RFC 3947.
        UDP_TRANSPORT_DRAFT = 61444,
    }
}

open_enum! {
    /// Integrity algorithm of an IPsec SA (RFC 2407 §4.5, RFC 4868).
    Integrity(u16) {
        /// HMAC-MD5-96.
        HMAC_MD5 = 1,
        /// HMAC-SHA1-96.
        HMAC_SHA1 = 2,
        /// HMAC-SHA2-256-128.
        HMAC_SHA2_256 = 5,
        /// HMAC-SHA2-384-192.
        HMAC_SHA2_384 = 6,
        /// HMAC-SHA2-512-256.
        HMAC_SHA2_512 = 7,
    }
}

open_enum! {
    /// Kind of an identity (RFC 2407 §4.6.2.1).
    IdType(u8) {
        /// IPv4 address.
        IPV4 = 1,
        /// Domain name.
        FQDN = 2,
        /// Mail-like name.
        USER_FQDN = 3,
        /// IPv4 network.
        IPV4_SUBNET = 4,
        /// IPv6 address.
        IPV6 = 5,
        /// Distinguished name.
        DER_ASN1_DN = 9,
        /// Opaque bytes.
        KEY_ID = 11,
    }
}

open_enum! {
    /// Kind of a notification (RFC 2408 §3.14.1, RFC 2407 §4.6.3, RFC 3706 §5).
    NotifyType(u16) {
        /// The payload type is not known.
        INVALID_PAYLOAD_TYPE = 1,
        /// The cookie is not known.
        INVALID_COOKIE = 4,
        /// The major version is not spoken.
        INVALID_MAJOR_VERSION = 5,
        /// The exchange type is not spoken.
        INVALID_EXCHANGE_TYPE = 7,
        /// The SPI is not known.
        INVALID_SPI = 11,
        /// No proposal is acceptable.
        NO_PROPOSAL_CHOSEN = 14,
        /// The message does not parse.
        PAYLOAD_MALFORMED = 16,
        /// The key exchange value is not valid.
        INVALID_KEY_INFORMATION = 17,
        /// The identity is not acceptable.
        INVALID_ID_INFORMATION = 18,
        /// The hash does not verify.
        INVALID_HASH_INFORMATION = 23,
        /// Authentication failed.
        AUTHENTICATION_FAILED = 24,
        /// The lifetime that the responder goes by.
        RESPONDER_LIFETIME = 24576,
        /// Whether anti-replay is on.
        REPLAY_STATUS = 24577,
        /// This is the peer's only SA with us: drop what it had.
        INITIAL_CONTACT = 24578,
        /// Dead peer detection: are you there?
        R_U_THERE = 36136,
        /// Dead peer detection: here I am.
        R_U_THERE_ACK = 36137,
    }
}
