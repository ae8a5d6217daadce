//! The known answers: published vectors, in hex.
//!
//! The ICVs behind published CBC ciphertexts, and those of the long packets: pyca/cryptography 48.0.0 and Python's hmac.

use super::LONG_LEN;
use crate::suite::{AesKey, Integrity, Suite};

/// One packet and its answers.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) suite: Suite,
    /// Key material as the suite counts it.
    pub(super) key: Vec<u8>,
    pub(super) aad: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) plaintext: Vec<u8>,
    /// Ciphertext and ICV.
    pub(super) sealed: Vec<u8>,
    /// ICV of the packet with [`long_plaintext`]; the rest is the same.
    pub(super) long_icv: Vec<u8>,
    /// IV of sequence number 1.
    pub(super) first_iv: Vec<u8>,
}

/// The answers of every suite, in the order of [`Suite::ALL`]; `None` if a digit is wrong.
pub(super) fn known() -> Option<Vec<Known>> {
    Suite::ALL.into_iter().map(of_suite).collect()
}

/// The plaintext of the long packet: byte n is n mod 251.
pub(super) fn long_plaintext() -> Vec<u8> {
    (0..251).cycle().take(LONG_LEN).collect()
}

fn of_suite(suite: Suite) -> Option<Known> {
    match suite {
        Suite::AesGcm(key) => GCM[by_len(key)].known(suite),
        Suite::AesCbcHmac(key, integrity) => CBC[by_len(key)].known(suite, integrity),
        Suite::TripleDesHmac(integrity) => CBC[3].known(suite, integrity),
    }
}

const fn by_len(key: AesKey) -> usize {
    match key {
        AesKey::Bits128 => 0,
        AesKey::Bits192 => 1,
        AesKey::Bits256 => 2,
    }
}

/// A packet of an AES-GCM suite.
struct GcmKnown {
    /// AES key ‖ salt.
    key: &'static str,
    aad: &'static str,
    iv: &'static str,
    plaintext: &'static str,
    /// Ciphertext and ICV.
    sealed: &'static str,
    long_icv: &'static str,
}

impl GcmKnown {
    fn known(&self, suite: Suite) -> Option<Known> {
        Some(Known {
            suite,
            key: unhex(self.key)?,
            aad: unhex(self.aad)?,
            iv: unhex(self.iv)?,
            plaintext: unhex(self.plaintext)?,
            sealed: unhex(self.sealed)?,
            long_icv: unhex(self.long_icv)?,
            first_iv: vec![0, 0, 0, 0, 0, 0, 0, 1],
        })
    }
}

/// A packet of a cipher in CBC mode, with every HMAC.
struct CbcKnown {
    /// The cipher's key; the integrity key is 1, 2, 3, …
    key: &'static str,
    iv: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
    /// ICV of this packet and of the long one, in the order of [`Integrity::ALL`].
    icvs: [[&'static str; 2]; 5],
    first_iv: &'static str,
}

impl CbcKnown {
    fn known(&self, suite: Suite, integrity: Integrity) -> Option<Known> {
        let place = Integrity::ALL.iter().position(|own| *own == integrity)?;
        let [icv, long_icv] = self.icvs.get(place)?;
        let integrity_key: Vec<u8> = (1..).take(integrity.key_len()).collect();
        Some(Known {
            suite,
            key: [unhex(self.key)?, integrity_key].concat(),
            aad: vec![0, 0, 0x43, 0x21, 0, 0, 0, 1],
            iv: unhex(self.iv)?,
            plaintext: unhex(self.plaintext)?,
            sealed: [unhex(self.ciphertext)?, unhex(icv)?].concat(),
            long_icv: unhex(long_icv)?,
            first_iv: unhex(self.first_iv)?,
        })
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// AES-GCM by key length.
const GCM: [GcmKnown; 3] = [
    // draft-mcgrew-gcm-test-01 §4, case 2.
    GcmKnown {
        key: "feffe9928665731c6d6a8f9467308308cafebabe",
        aad: "0000a5f80000000a",
        iv: "facedbaddecaf888",
        plaintext: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000\
            00037369700963796265726369747902646b00000100010001",
        sealed: "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f\
            51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
        long_icv: "d619afdd86cd396557cb1af9dec1f13d",
    },
    // draft-mcgrew-gcm-test-01 §4, case 7.
    GcmKnown {
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731ccafebabe",
        aad: "0000a5f80000000a",
        iv: "facedbaddecaf888",
        plaintext: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d0756800\
            01",
        sealed: "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77\
            95457b9652037f5318027b5b4cd7a636",
        long_icv: "de3bff70c16f1217b1d3e86dfb4564ff",
    },
    // draft-mcgrew-gcm-test-01 §4, case 3.
    GcmKnown {
        key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
        aad: "4a2cbfe300000002",
        iv: "0102030405060708",
        plaintext: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf00\
            00020405b40101040201020201",
        sealed: "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d34\
            7f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
        long_icv: "de4d8adda097a156ec95e8a50146e14c",
    },
];

/// CBC mode: AES by key length, then Triple DES.
const CBC: [CbcKnown; 4] = [
    // RFC 3602 §4 case 3.
    CbcKnown {
        key: "6c3ea0477630ce21a2ce334aa746c2cd",
        iv: "c782dc4c098c66cbd9cd27d825682c81",
        plaintext: "5468697320697320612034382d62797465206d657373616765202865786163746c792033204145\
            5320626c6f636b7329",
        ciphertext: "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad\
            525c8579695d83ba2684",
        icvs: [
            ["da58ad19eb33bfac84dcdab6", "b6a7fb906a4a3d12a22c1acc"],
            [
                "d6a14f7eb46a2a1f4d16ea6777e7767a",
                "074dd71d9c12d23352c606a36f9cc115",
            ],
            ["d6a14f7eb46a2a1f4d16ea67", "074dd71d9c12d23352c606a3"],
            [
                "d8d5835045db1fd2edfeaab07f40b96b0aa596658fd719de",
                "cfbeb66aa37414bda6c988ea622da3da2c3f327a810b1ad8",
            ],
            [
                "bdfb501b6501c8dbb54f9963096271e2de0f7287e770700aff15ec021893c2ed",
                "0a415a05f0767a417d4f0194138241e091d95f69f89e67e019795c1ba3f7ccc1",
            ],
        ],
        first_iv: "0038f885d1d62d39368fed99583f9c6f",
    },
    // NIST CAVS CBCMMT192 count 2.
    CbcKnown {
        key: "16c93bb398f1fc0cf6d68fc7a5673cdf431fa147852b4a2d",
        iv: "eaaeca2e07ddedf562f94df63f0a650f",
        plaintext: "c5ce958613bf741718c17444484ebaf1050ddcacb59b9590178cbe69d7ad7919608cb03af13bbe\
            04f3506b718a301ea0",
        ciphertext: "ed6a50e0c6921d52d6647f75d67b4fd56ace1fedb8b5a6a997b4d131640547d22c5d884a75e6\
            752b5846b5b33a5181f4",
        icvs: [
            ["2d4c4a01af8a292a2b103d5d", "0c43e98e98d3cc95a854c227"],
            [
                "574e5d726a0c64635602e2b4f3b2da75",
                "a04c8500c8b740c9510c8d6f80f6f1e4",
            ],
            ["574e5d726a0c64635602e2b4", "a04c8500c8b740c9510c8d6f"],
            [
                "ee873116b5b71cc688ff3bc91897b3542c916f4f45eb74ec",
                "5b0d761302a85f71bb8c618d99954323a12d6f01cd62b61a",
            ],
            [
                "f905f5e7ec3a1da745839a20de09f9d211dc6eff4d2a461c43fab69ebc7e6bb2",
                "0348e90a88d4edf04d82f41a7ad80456e76796a0eeed1926f247813b8b26cb8a",
            ],
        ],
        first_iv: "68afd6db20d0fe74b08ceb771d2a27e7",
    },
    // NIST CAVS CBCMMT256 count 2.
    CbcKnown {
        key: "fe8901fecd3ccd2ec5fdc7c7a0b50519c245b42d611a5ef9e90268d59f3edf33",
        iv: "bd416cb3b9892228d8f1df575692e4d0",
        plaintext: "8d3aa196ec3d7c9b5bb122e7fe77fb1295a6da75abe5d3a510194d3a8a4157d5c89d4061971661\
            9859da3ec9b247ced9",
        ciphertext: "608e82c7ab04007adb22e389a44797fed7de090c8c03ca8a2c5acd9e84df37fbc58ce8edb293\
            e98f02b640d6d1d72464",
        icvs: [
            ["34437311e8b5505ebabb7388", "115f52faa5678d6d7e512036"],
            [
                "397b0171603ebb2458da337118bcb180",
                "69f274e46590c723ec3b2be3223a0eca",
            ],
            ["397b0171603ebb2458da3371", "69f274e46590c723ec3b2be3"],
            [
                "93518180333f00a2fbbd2ef253c65f7e93c324b2c2cedfe1",
                "ea78be37ce09573bad6ee4141da380c6eddbbe81e30c109b",
            ],
            [
                "dba082c53db294386e31b466a0bfcdca9f0911d253bfa132c3eac5f44c0105e6",
                "b1ef34c72edaa746f5735606302a2adf4aa72799a7e81fbcb5d52054ab07cb32",
            ],
        ],
        first_iv: "a4d903ae4d27e23673c2036f3c441a56",
    },
    // NIST CAVS TCBCMMT3 count 2.
    CbcKnown {
        key: "1a5d4c0825072a15a8ad9dfdaeda8c048adffb85bc4fced0",
        iv: "7fcfa736f7548b6f",
        plaintext: "983c3edacd939406010e1bc6ff9e12320ac5008117fa8f84",
        ciphertext: "d84fa24f38cf451ca2c9adc960120bd8ff9871584fe31cee",
        icvs: [
            ["75ef22298738caee1b212da7", "60067352377e5c28885c44bd"],
            [
                "c02f21c9f080d39fdf2ca912735676fc",
                "3dcf8a72b48ce90646490c5735b650c3",
            ],
            ["c02f21c9f080d39fdf2ca912", "3dcf8a72b48ce90646490c57"],
            [
                "a3f31eedfa1192a62c002a96a701d48ada5016c9f0b13046",
                "3575fb736114eba98d50221fc0c123f426c90a3d06dfe8c9",
            ],
            [
                "4c5df5ae3d252cb60081891a5f65a510f8b143ffde499be4ef11fa6b9c9d66f1",
                "684b6711dc0cc9b2e5d45c21ddd9cb9042b0b96630718aa9f55c9d2e3251365f",
            ],
        ],
        first_iv: "a7626be5b47a76f2",
    },
];
