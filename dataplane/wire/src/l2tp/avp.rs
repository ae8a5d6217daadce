//! Attribute-value pairs of control messages (RFC 2661 §4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |M|H| rsvd  |      Length       |           Vendor ID           |
//! |         Attribute Type        |  Value ... (Length - 6 bytes)
//! ```

use crate::reader::{Reader, Truncated};
use crate::writer::{Overflow, Writer};

/// Length of an AVP's own header in bytes.
pub const HEADER_LEN: usize = 6;

/// Longest value an AVP can carry, in bytes: its length field has ten bits.
pub const MAX_VALUE_LEN: usize = 0x3FF - HEADER_LEN;

mod flag {
    pub(super) const MANDATORY: u16 = 0x8000;
    pub(super) const HIDDEN: u16 = 0x4000;
    pub(super) const RESERVED: u16 = 0x3C00;
    pub(super) const LENGTH: u16 = 0x03FF;
}

/// An attribute type of vendor 0 (RFC 2661 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeType(pub u16);

#[allow(missing_docs, reason = "the names are the RFC's")]
impl AttributeType {
    pub const MESSAGE_TYPE: Self = Self(0);
    pub const RESULT_CODE: Self = Self(1);
    pub const PROTOCOL_VERSION: Self = Self(2);
    pub const FRAMING_CAPABILITIES: Self = Self(3);
    pub const BEARER_CAPABILITIES: Self = Self(4);
    pub const TIE_BREAKER: Self = Self(5);
    pub const FIRMWARE_REVISION: Self = Self(6);
    pub const HOST_NAME: Self = Self(7);
    pub const VENDOR_NAME: Self = Self(8);
    pub const ASSIGNED_TUNNEL_ID: Self = Self(9);
    pub const RECEIVE_WINDOW_SIZE: Self = Self(10);
    pub const CHALLENGE: Self = Self(11);
    pub const Q931_CAUSE_CODE: Self = Self(12);
    pub const CHALLENGE_RESPONSE: Self = Self(13);
    pub const ASSIGNED_SESSION_ID: Self = Self(14);
    pub const CALL_SERIAL_NUMBER: Self = Self(15);
    pub const MINIMUM_BPS: Self = Self(16);
    pub const MAXIMUM_BPS: Self = Self(17);
    pub const BEARER_TYPE: Self = Self(18);
    pub const FRAMING_TYPE: Self = Self(19);
    pub const CALLED_NUMBER: Self = Self(21);
    pub const CALLING_NUMBER: Self = Self(22);
    pub const SUB_ADDRESS: Self = Self(23);
    pub const TX_CONNECT_SPEED: Self = Self(24);
    pub const PHYSICAL_CHANNEL_ID: Self = Self(25);
    pub const INITIAL_RECEIVED_LCP_CONFREQ: Self = Self(26);
    pub const LAST_SENT_LCP_CONFREQ: Self = Self(27);
    pub const LAST_RECEIVED_LCP_CONFREQ: Self = Self(28);
    pub const PROXY_AUTHEN_TYPE: Self = Self(29);
    pub const PROXY_AUTHEN_NAME: Self = Self(30);
    pub const PROXY_AUTHEN_CHALLENGE: Self = Self(31);
    pub const PROXY_AUTHEN_ID: Self = Self(32);
    pub const PROXY_AUTHEN_RESPONSE: Self = Self(33);
    pub const CALL_ERRORS: Self = Self(34);
    pub const ACCM: Self = Self(35);
    pub const RANDOM_VECTOR: Self = Self(36);
    pub const PRIVATE_GROUP_ID: Self = Self(37);
    pub const RX_CONNECT_SPEED: Self = Self(38);
    pub const SEQUENCING_REQUIRED: Self = Self(39);
}

impl AttributeType {
    /// Whether RFC 2661 §4.4 defines it.
    pub const fn is_defined(self) -> bool {
        matches!(self.0, 0..=19 | 21..=39)
    }
}

/// What is wrong with an AVP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvpError {
    /// The list ends inside a header or value, or a length is below 6.
    Length,
    /// A value does not have the length its type demands.
    Value(AttributeType),
}

impl From<Truncated> for AvpError {
    fn from(Truncated: Truncated) -> Self {
        Self::Length
    }
}

/// One attribute-value pair, borrowed from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avp<'a> {
    /// Whether a receiver that does not know it must give up the tunnel or session (M bit).
    pub mandatory: bool,
    /// Whether the value is hidden (H bit, RFC 2661 §4.3): then `value` is cipher text.
    pub hidden: bool,
    /// Whether a reserved bit is set: such an AVP counts as unknown (RFC 2661 §4.1).
    pub reserved: bool,
    /// SMI code of the vendor that defined the type; 0 is the IETF.
    pub vendor: u16,
    /// The type within the vendor's space.
    pub attribute: AttributeType,
    /// The value, 0 to 1,017 bytes.
    pub value: &'a [u8],
}

impl<'a> Avp<'a> {
    /// Whether RFC 2661 gives it a meaning: vendor 0, a defined type and no reserved bit.
    pub const fn is_known(&self) -> bool {
        self.vendor == 0 && !self.reserved && self.attribute.is_defined()
    }

    /// The value as an array.
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is not exactly `N` bytes long.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], AvpError> {
        self.value
            .try_into()
            .map_err(|_| AvpError::Value(self.attribute))
    }

    /// The value as a 16-bit number.
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is not 2 bytes long.
    pub fn u16(&self) -> Result<u16, AvpError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The value as a 32-bit number.
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is not 4 bytes long.
    pub fn u32(&self) -> Result<u32, AvpError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The value as a 64-bit number: a Tie Breaker.
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is not 8 bytes long.
    pub fn u64(&self) -> Result<u64, AvpError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The value as a name: trailing NULs, which some clients count in, are left out.
    pub fn text(&self) -> &'a [u8] {
        let len = self.value.iter().rposition(|&byte| byte != 0);
        self.value
            .get(..len.map_or(0, |last| last + 1))
            .unwrap_or_default()
    }

    /// The value as a Protocol Version: version, revision.
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is not 2 bytes long.
    pub fn protocol_version(&self) -> Result<(u8, u8), AvpError> {
        self.array().map(|[version, revision]| (version, revision))
    }

    /// The value as a Result Code (RFC 2661 §4.4.2).
    ///
    /// # Errors
    /// [`AvpError::Value`] if it is shorter than 2 bytes or 3 bytes long.
    pub fn result_code(&self) -> Result<ResultCode<'a>, AvpError> {
        let malformed = |_| AvpError::Value(self.attribute);
        let mut reader = Reader::new(self.value);
        let result = reader.u16().map_err(malformed)?;
        let error = match reader.is_empty() {
            true => ErrorCode::NONE,
            false => ErrorCode(reader.u16().map_err(malformed)?),
        };
        Ok(ResultCode {
            result,
            error,
            message: reader.rest(),
        })
    }
}

/// The value of a Result Code AVP (RFC 2661 §4.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultCode<'a> {
    /// Why; its meaning depends on the message: see [`super::message::stop_ccn`] and [`super::message::cdn`].
    pub result: u16,
    /// More about a general error.
    pub error: ErrorCode,
    /// Text for people, in the sender's words.
    pub message: &'a [u8],
}

/// A general error code (RFC 2661 §4.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// No general error.
    pub const NONE: Self = Self(0);
    /// No control connection exists yet for this pair.
    pub const NO_CONTROL_CONNECTION: Self = Self(1);
    /// A length is wrong.
    pub const LENGTH: Self = Self(2);
    /// A value is out of range, or a reserved field is not zero.
    pub const VALUE: Self = Self(3);
    /// There is no room for this now.
    pub const RESOURCES: Self = Self(4);
    /// The session id is invalid in this context.
    pub const SESSION_ID: Self = Self(5);
    /// An error of the vendor's own.
    pub const VENDOR: Self = Self(6);
    /// Try another server.
    pub const TRY_ANOTHER: Self = Self(7);
    /// An unknown AVP had its M bit set.
    pub const UNKNOWN_MANDATORY: Self = Self(8);
}

/// Walks the AVPs of a message; ends after the first that does not parse.
#[derive(Clone, Copy, Debug)]
pub struct Avps<'a> {
    reader: Reader<'a>,
}

impl<'a> Avps<'a> {
    /// Starts at the first AVP of `bytes`, the part of a control message after its header.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }

    fn parse(&mut self) -> Result<Avp<'a>, AvpError> {
        let first = self.reader.u16()?;
        let value_len = usize::from(first & flag::LENGTH)
            .checked_sub(HEADER_LEN)
            .ok_or(AvpError::Length)?;
        Ok(Avp {
            mandatory: first & flag::MANDATORY != 0,
            hidden: first & flag::HIDDEN != 0,
            reserved: first & flag::RESERVED != 0,
            vendor: self.reader.u16()?,
            attribute: AttributeType(self.reader.u16()?),
            value: self.reader.take(value_len)?,
        })
    }
}

impl<'a> Iterator for Avps<'a> {
    type Item = Result<Avp<'a>, AvpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let avp = self.parse();
        if avp.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(avp)
    }
}

/// Whether the receiver must know an AVP (M bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// M bit clear: a receiver that does not know it goes on without.
    Optional,
    /// M bit set.
    Mandatory,
}

/// Appends an AVP of vendor 0 that is not hidden.
///
/// # Errors
/// [`Overflow`] if it does not fit or `value` is longer than 1,017 bytes; part of it may then be written.
pub fn put(
    writer: &mut Writer<'_>,
    need: Need,
    attribute: AttributeType,
    value: &[u8],
) -> Result<(), Overflow> {
    put_header(writer, need, 0, attribute, value.len())?;
    writer.put(value)
}

/// Appends an AVP whose value is already hidden (H bit set).
///
/// # Errors
/// [`Overflow`] if it does not fit or `value` is longer than 1,017 bytes; part of it may then be written.
pub fn put_hidden(
    writer: &mut Writer<'_>,
    need: Need,
    attribute: AttributeType,
    value: &[u8],
) -> Result<(), Overflow> {
    put_header(writer, need, flag::HIDDEN, attribute, value.len())?;
    writer.put(value)
}

/// Appends an AVP with a 16-bit value.
///
/// # Errors
/// [`Overflow`] if it does not fit.
pub fn put_u16(
    writer: &mut Writer<'_>,
    need: Need,
    attribute: AttributeType,
    value: u16,
) -> Result<(), Overflow> {
    put(writer, need, attribute, &value.to_be_bytes())
}

/// Appends an AVP with a 32-bit value.
///
/// # Errors
/// [`Overflow`] if it does not fit.
pub fn put_u32(
    writer: &mut Writer<'_>,
    need: Need,
    attribute: AttributeType,
    value: u32,
) -> Result<(), Overflow> {
    put(writer, need, attribute, &value.to_be_bytes())
}

/// Appends a Result Code AVP; without error and message it takes its two-byte form.
///
/// # Errors
/// [`Overflow`] if it does not fit.
pub fn put_result_code(writer: &mut Writer<'_>, code: ResultCode<'_>) -> Result<(), Overflow> {
    let short = code.error == ErrorCode::NONE && code.message.is_empty();
    let len = if short { 2 } else { 4 + code.message.len() };
    let attribute = AttributeType::RESULT_CODE;
    put_header(writer, Need::Mandatory, 0, attribute, len)?;
    writer.u16(code.result)?;
    if !short {
        writer.u16(code.error.0)?;
        writer.put(code.message)?;
    }
    Ok(())
}

fn put_header(
    writer: &mut Writer<'_>,
    need: Need,
    flags: u16,
    attribute: AttributeType,
    value_len: usize,
) -> Result<(), Overflow> {
    if value_len > MAX_VALUE_LEN {
        return Err(Overflow);
    }
    let len = u16::try_from(value_len + HEADER_LEN).map_err(|_| Overflow)?;
    let mandatory = match need {
        Need::Optional => 0,
        Need::Mandatory => flag::MANDATORY,
    };
    writer.u16(mandatory | flags | len)?;
    writer.u16(0)?;
    writer.u16(attribute.0)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// AVPs of an SCCRQ of xl2tpd 1.3.18, captured in `direct-ss-gcm`, frame 10.
    const SCCRQ: &str = "800800000000000180080000000201\
        00800a0000000300000003800a0000000400000000000800000006069080\
        0800000007633100130000000878656c6572616e63652e636f6d80080000\
        0009329580080000000a0004";

    fn avps(bytes: &[u8]) -> Vec<Result<Avp<'_>, AvpError>> {
        Avps::new(bytes).collect()
    }

    #[test]
    fn deconstruct() {
        let bytes = hex::decode(SCCRQ).unwrap();
        let avps: Vec<_> = Avps::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(avps.len(), 9);
        assert!(avps.iter().all(Avp::is_known));
        assert_eq!(avps[0].u16(), Ok(1));
        assert_eq!(avps[1].protocol_version(), Ok((1, 0)));
        assert_eq!(avps[2].u32(), Ok(3));
        assert!(!avps[4].mandatory);
        assert_eq!(avps[5].attribute, AttributeType::HOST_NAME);
        assert_eq!(avps[5].text(), b"c1");
        assert_eq!(avps[6].value, b"xelerance.com");
        assert_eq!(avps[7].u16(), Ok(0x3295));
        assert_eq!(avps[8].u16(), Ok(4));
    }

    #[test]
    fn construct() {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        put_u16(
            &mut writer,
            Need::Mandatory,
            AttributeType::ASSIGNED_TUNNEL_ID,
            0x3295,
        )
        .unwrap();
        put(
            &mut writer,
            Need::Optional,
            AttributeType::VENDOR_NAME,
            b"xelerance.com",
        )
        .unwrap();
        assert_eq!(
            hex::encode(writer.written()),
            "800800000009329500130000000878656c6572616e63652e636f6d"
        );
    }

    #[test]
    fn captured_messages_round_trip() {
        let bytes = hex::decode(SCCRQ).unwrap();
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        for avp in Avps::new(&bytes).map(Result::unwrap) {
            let need = match avp.mandatory {
                true => Need::Mandatory,
                false => Need::Optional,
            };
            put(&mut writer, need, avp.attribute, avp.value).unwrap();
        }
        assert_eq!(writer.written(), bytes);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_list() {
        let bytes = hex::decode(SCCRQ).unwrap();
        let ends: Vec<usize> = [8, 16, 26, 36, 44, 52, 71, 79, 87].into();
        for len in 0..bytes.len() {
            let list = avps(&bytes[..len]);
            let whole = ends.iter().filter(|&&end| end <= len).count();
            assert_eq!(list.iter().filter(|avp| avp.is_ok()).count(), whole);
            let cut = len != 0 && !ends.contains(&len);
            assert_eq!(list.last() == Some(&Err(AvpError::Length)), cut, "at {len}");
        }
    }

    #[test]
    fn a_length_below_six_ends_the_walk() {
        for len in 0..6 {
            let bytes = [0x80, len, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 9, 0, 1];
            assert_eq!(avps(&bytes), [Err(AvpError::Length)]);
        }
    }

    #[test]
    fn hidden_and_reserved_bits_are_seen() {
        let [hidden, reserved] = [[0xC0, 6, 0, 0, 0, 7], [0x84, 6, 0, 0, 0, 7]];
        assert!(avps(&hidden)[0].unwrap().hidden);
        assert!(avps(&hidden)[0].unwrap().is_known());
        assert!(!avps(&reserved)[0].unwrap().is_known());
    }

    #[test]
    fn unknown_types_and_vendors_are_unknown() {
        for bytes in [
            [0x80, 6, 0, 0, 0, 20],
            [0x80, 6, 0, 0, 0, 40],
            [0x80, 6, 1, 0x37, 0, 7],
        ] {
            assert!(!avps(&bytes)[0].unwrap().is_known());
        }
    }

    #[test]
    fn values_of_the_wrong_length_are_refused() {
        let avp = avps(&[0x80, 9, 0, 0, 0, 9, 1, 2, 3])[0].unwrap();
        let wrong = AvpError::Value(AttributeType::ASSIGNED_TUNNEL_ID);
        assert_eq!(avp.u16(), Err(wrong));
        assert_eq!(avp.u32(), Err(wrong));
        assert_eq!(avp.u64(), Err(wrong));
        assert_eq!(avp.result_code(), Err(wrong));
    }

    #[test]
    fn a_result_code_has_three_forms() {
        // From the StopCCN of xl2tpd 1.3.18 in `direct-ss-gcm`, frame 55.
        let bytes = hex::decode("80120000000100010000476f6f6462796521").unwrap();
        let code = avps(&bytes)[0].unwrap().result_code().unwrap();
        assert_eq!((code.result, code.error), (1, ErrorCode::NONE));
        assert_eq!(code.message, b"Goodbye!");
        for (result, error, message, len) in [
            (3, ErrorCode::NONE, &b""[..], 8),
            (2, ErrorCode::UNKNOWN_MANDATORY, b"", 10),
            (2, ErrorCode::VALUE, b"why", 13),
        ] {
            let code = ResultCode {
                result,
                error,
                message,
            };
            let mut buffer = [0; 16];
            let mut writer = Writer::new(&mut buffer);
            put_result_code(&mut writer, code).unwrap();
            assert_eq!(writer.len(), len);
            assert_eq!(avps(writer.written())[0].unwrap().result_code(), Ok(code));
        }
    }

    #[test]
    fn a_host_name_loses_its_trailing_nul_only() {
        let avp = avps(&[0x80, 11, 0, 0, 0, 7, b'a', 0, b'b', 0, 0])[0].unwrap();
        assert_eq!(avp.text(), b"a\0b");
        let avp = avps(&[0x80, 8, 0, 0, 0, 7, 0, 0])[0].unwrap();
        assert_eq!(avp.text(), b"");
    }

    #[test]
    fn a_value_too_long_for_the_length_field_is_not_written() {
        let mut buffer = [0; 2_000];
        let attribute = AttributeType::HOST_NAME;
        let mut writer = Writer::new(&mut buffer);
        let long = [1; MAX_VALUE_LEN + 1];
        assert_eq!(
            put(&mut writer, Need::Optional, attribute, &long),
            Err(Overflow)
        );
        put(&mut writer, Need::Optional, attribute, &long[1..]).unwrap();
        assert_eq!(avps(writer.written())[0].unwrap().value, &long[1..]);
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_are_walked_in_finite_time(bytes: Vec<u8>) {
            let list = avps(&bytes);
            let read: usize = list.iter().flatten().map(|avp| HEADER_LEN + avp.value.len()).sum();
            proptest::prop_assert!(read <= bytes.len());
        }
    }
}
