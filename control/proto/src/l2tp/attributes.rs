//! The attributes of one message, unknown ones sorted out, hidden ones opened (RFC 2661 §4.1–§4.3).

use std::borrow::Cow;
use std::collections::BTreeMap;

use culvert_wire::l2tp::avp::{AttributeType, Avp, AvpError, Avps, ErrorCode, Need};

/// Why a message is refused, in the words of a general error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) ErrorCode);

impl From<AvpError> for Refusal {
    fn from(_: AvpError) -> Self {
        Self(ErrorCode::LENGTH)
    }
}

/// Known attributes of a message, each at most once.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    values: BTreeMap<AttributeType, Cow<'a, [u8]>>,
}

impl<'a> Attributes<'a> {
    /// Reads all AVPs.
    ///
    /// # Errors
    /// [`Refusal`] if a length is wrong, an unknown AVP is mandatory, a known one comes twice, or a hidden one cannot be opened.
    pub(super) fn read(avps: Avps<'a>, secret: Option<&[u8]>) -> Result<Self, Refusal> {
        let mut attributes = Self::default();
        let mut random_vector = None;
        for avp in avps {
            let avp = avp?;
            if !avp.is_known() {
                if avp.mandatory {
                    return Err(Refusal(ErrorCode::UNKNOWN_MANDATORY));
                }
            } else if avp.attribute == AttributeType::RANDOM_VECTOR && !avp.hidden {
                random_vector = Some(avp.value);
            } else {
                let value = match avp.hidden {
                    false => Cow::Borrowed(avp.value),
                    true => Cow::Owned(open(avp, secret, random_vector)?),
                };
                if attributes.values.insert(avp.attribute, value).is_some() {
                    return Err(Refusal(ErrorCode::VALUE));
                }
            }
        }
        Ok(attributes)
    }

    /// What can be read of `avps` before the first error: for messages that must be obeyed whatever they hold.
    pub(super) fn salvage(avps: Avps<'a>, secret: Option<&[u8]>) -> Self {
        let mut attributes = Self::default();
        let mut random_vector = None;
        for avp in avps.map_while(Result::ok).filter(Avp::is_known) {
            if avp.attribute == AttributeType::RANDOM_VECTOR {
                random_vector = Some(avp.value);
            }
            let value = match avp.hidden {
                false => Ok(Cow::Borrowed(avp.value)),
                true => open(avp, secret, random_vector).map(Cow::Owned),
            };
            if let Ok(value) = value {
                attributes.values.entry(avp.attribute).or_insert(value);
            }
        }
        attributes
    }

    fn avp(&self, attribute: AttributeType) -> Option<Avp<'_>> {
        self.values.get(&attribute).map(|value| Avp {
            mandatory: false,
            hidden: false,
            reserved: false,
            vendor: 0,
            attribute,
            value,
        })
    }

    /// The 16-bit attribute, if it is there.
    ///
    /// # Errors
    /// [`Refusal`] if it is not 2 bytes long.
    pub(super) fn u16(&self, attribute: AttributeType) -> Result<Option<u16>, Refusal> {
        Ok(self.avp(attribute).map(|avp| avp.u16()).transpose()?)
    }

    /// The 32-bit attribute, if it is there.
    ///
    /// # Errors
    /// [`Refusal`] if it is not 4 bytes long.
    pub(super) fn u32(&self, attribute: AttributeType) -> Result<Option<u32>, Refusal> {
        Ok(self.avp(attribute).map(|avp| avp.u32()).transpose()?)
    }

    /// The bytes of the attribute, if it is there.
    pub(super) fn bytes(&self, attribute: AttributeType) -> Option<&[u8]> {
        self.values.get(&attribute).map(|value| &**value)
    }

    /// The attribute as a name without trailing NULs, if it is there.
    pub(super) fn text(&self, attribute: AttributeType) -> Option<&[u8]> {
        self.bytes(attribute).map(|value| {
            let end = value.iter().rposition(|&byte| byte != 0);
            value.get(..end.map_or(0, |last| last + 1)).unwrap_or(value)
        })
    }

    /// The result code, 0 if there is none that can be read.
    pub(super) fn result_code(&self) -> u16 {
        self.avp(AttributeType::RESULT_CODE)
            .and_then(|avp| avp.result_code().ok())
            .map_or(0, |code| code.result)
    }

    /// A non-zero id, if the attribute is there.
    ///
    /// # Errors
    /// [`Refusal`] if it is zero or not 2 bytes long.
    pub(super) fn id(&self, attribute: AttributeType) -> Result<Option<u16>, Refusal> {
        match self.u16(attribute)? {
            Some(0) => Err(Refusal(ErrorCode::VALUE)),
            id => Ok(id),
        }
    }
}

/// Turns a missing attribute into a refusal.
pub(super) fn required<T>(value: Option<T>) -> Result<T, Refusal> {
    value.ok_or(Refusal(ErrorCode::VALUE))
}

fn open(
    avp: Avp<'_>,
    secret: Option<&[u8]>,
    random_vector: Option<&[u8]>,
) -> Result<Vec<u8>, Refusal> {
    let (Some(secret), Some(random_vector)) = (secret, random_vector) else {
        return Err(Refusal(ErrorCode::VALUE));
    };
    super::hidden::unhide(avp.attribute, secret, random_vector, avp.value)
        .ok_or(Refusal(ErrorCode::LENGTH))
}

/// How strongly we insist on an AVP of ours: everything RFC 2661 marks so.
pub(super) const fn need(attribute: AttributeType) -> Need {
    match attribute {
        AttributeType::FIRMWARE_REVISION | AttributeType::VENDOR_NAME => Need::Optional,
        _ => Need::Mandatory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hex: &str, secret: Option<&[u8]>) -> Result<Vec<(u16, Vec<u8>)>, Refusal> {
        let bytes = hex::decode(hex).unwrap();
        let attributes = Attributes::read(Avps::new(&bytes), secret)?;
        let pairs = attributes.values.into_iter();
        Ok(pairs
            .map(|(kind, value)| (kind.0, value.into_owned()))
            .collect())
    }

    const TUNNEL: &str = "8008000000090001";

    #[test]
    fn an_unknown_mandatory_avp_is_refused_and_an_optional_one_ignored() {
        let unknown = Err(Refusal(ErrorCode::UNKNOWN_MANDATORY));
        for flags in ["80", "c0"] {
            assert_eq!(read(&format!("{flags}0600000014{TUNNEL}"), None), unknown);
            assert_eq!(read(&format!("{flags}0601370001{TUNNEL}"), None), unknown);
        }
        for flags in ["00", "40"] {
            let expected = Ok(vec![(9, vec![0, 1])]);
            assert_eq!(read(&format!("{flags}0600000014{TUNNEL}"), None), expected);
            assert_eq!(read(&format!("{flags}0601370001{TUNNEL}"), None), expected);
        }
    }

    #[test]
    fn a_reserved_bit_makes_an_avp_unknown() {
        let avp = "8408000000090001";
        assert_eq!(read(avp, None), Err(Refusal(ErrorCode::UNKNOWN_MANDATORY)));
        assert_eq!(read("0408000000090001", None), Ok(vec![]));
    }

    #[test]
    fn an_attribute_that_comes_twice_is_refused() {
        let twice = format!("{TUNNEL}{TUNNEL}");
        assert_eq!(read(&twice, None), Err(Refusal(ErrorCode::VALUE)));
    }

    #[test]
    fn a_hidden_avp_needs_secret_and_random_vector_before_it() {
        let vector = "801600000024a213eac309901db7efdcb91fa2d83fbc";
        let hidden = "c00a000000090fd05a3a";
        let secret = Some(&b"l2tp-secret"[..]);
        let both = format!("{vector}{hidden}");
        let refused = Err(Refusal(ErrorCode::VALUE));
        assert_eq!(read(&both, secret), Ok(vec![(9, vec![0x12, 0x34])]));
        assert_eq!(read(&both, None), refused);
        assert_eq!(read(hidden, secret), refused);
        assert_eq!(read(&format!("{hidden}{vector}"), secret), refused);
    }

    #[test]
    fn what_comes_before_an_error_is_salvaged() {
        // Apple's CDN: the Result Code AVP claims 14 bytes and has 8 (xnu, l2tp.c).
        let bytes = hex::decode("80080000000e00078014000000010003").unwrap();
        let attributes = Attributes::salvage(Avps::new(&bytes), None);
        assert_eq!(
            attributes.u16(AttributeType::ASSIGNED_SESSION_ID),
            Ok(Some(7))
        );
        assert_eq!(attributes.result_code(), 0);
    }
}
