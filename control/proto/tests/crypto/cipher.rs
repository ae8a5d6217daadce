//! CBC ciphers: NIST CAVS, RFC 3602, Wycheproof.

use culvert_proto::crypto::cipher::{Cipher, CipherError, Iv};

use crate::reader;

fn aes(key: &[u8]) -> Cipher {
    *[Cipher::Aes128, Cipher::Aes192, Cipher::Aes256]
        .iter()
        .find(|cipher| cipher.key_len() == key.len())
        .unwrap()
}

/// Both ways, whole and in two messages that are chained by the returned block.
fn check(cipher: Cipher, key: &[u8], iv: &[u8], plaintext: &[u8], ciphertext: &[u8]) {
    let iv = Iv::new(iv).unwrap();
    let mut bytes = plaintext.to_vec();
    let last = cipher.encrypt(key, &iv, &mut bytes).unwrap();
    assert_eq!(bytes, ciphertext);
    assert_eq!(
        last.as_bytes(),
        &ciphertext[ciphertext.len() - cipher.block_len()..]
    );
    assert_eq!(cipher.decrypt(key, &iv, &mut bytes).unwrap(), last);
    assert_eq!(bytes, plaintext);

    let (first, second) = bytes.split_at_mut(cipher.block_len());
    let middle = cipher.encrypt(key, &iv, first).unwrap();
    if !second.is_empty() {
        assert_eq!(cipher.encrypt(key, &middle, second).unwrap(), last);
    }
    assert_eq!(bytes, ciphertext);
}

#[test]
fn aes_cbc_agrees_with_cavs() {
    for (name, counts) in [
        ("GFSbox", [14, 12, 10]),
        ("KeySbox", [42, 48, 32]),
        ("MMT", [20; 3]),
    ] {
        for (bits, count) in [128, 192, 256].into_iter().zip(counts) {
            let cases = reader::cases(&format!("cavp/aescbc/CBC{name}{bits}.rsp"));
            for case in &cases {
                let key = case.bytes("KEY");
                let (plaintext, ciphertext) = (case.bytes("PLAINTEXT"), case.bytes("CIPHERTEXT"));
                check(aes(&key), &key, &case.bytes("IV"), &plaintext, &ciphertext);
            }
            assert_eq!(cases.len(), count, "{name}{bits}");
        }
    }
}

#[test]
fn triple_des_agrees_with_cavs() {
    for (file, count) in [("TCBCMMT1", 20), ("TCBCMMT2", 20), ("TCBCMMT3", 20)] {
        let cases = reader::cases(&format!("3des/{file}.rsp"));
        for case in &cases {
            let key = if case.has("KEYs") {
                case.bytes("KEYs").repeat(3)
            } else {
                [case.bytes("KEY1"), case.bytes("KEY2"), case.bytes("KEY3")].concat()
            };
            let (plaintext, ciphertext) = (case.bytes("PLAINTEXT"), case.bytes("CIPHERTEXT"));
            check(
                Cipher::TripleDes,
                &key,
                &case.bytes("IV"),
                &plaintext,
                &ciphertext,
            );
        }
        assert_eq!(cases.len(), count, "{file}");
    }
}

#[test]
fn aes_cbc_agrees_with_rfc_3602() {
    let file = reader::json("rfc/esp_aes_cbc_rfc3602.json");
    let tests = reader::elements(&file, "cbc");
    for test in tests {
        let [key, iv, plaintext, ciphertext] =
            ["key", "iv", "plaintext", "ciphertext"].map(|name| reader::bytes(test, name));
        check(aes(&key), &key, &iv, &plaintext, &ciphertext);
    }
    assert_eq!(tests.len(), 4);
}

#[test]
fn aes_cbc_agrees_with_wycheproof_padding_included() {
    let tests = reader::wycheproof("wycheproof/aes_cbc_pkcs5_test.json");
    for (_, test) in &tests {
        let [key, iv, message, ciphertext] =
            ["key", "iv", "msg", "ct"].map(|name| reader::bytes(test, name));
        let mut bytes = ciphertext.clone();
        let decrypted = aes(&key).decrypt(&key, &Iv::new(&iv).unwrap(), &mut bytes);
        let unpadded = decrypted.ok().and_then(|_| unpad(&bytes));
        if test["result"] == "valid" {
            assert_eq!(unpadded, Some(&message[..]), "{test}");
            check(aes(&key), &key, &iv, &bytes, &ciphertext);
        } else {
            assert_eq!(unpadded, None, "{test}");
        }
    }
    assert_eq!(tests.len(), 216);
}

/// PKCS #5 padding off; `None` if there is none.
fn unpad(bytes: &[u8]) -> Option<&[u8]> {
    let pad_len = *bytes.last()?;
    let (message, padding) = bytes.split_at_checked(bytes.len().checked_sub(pad_len.into())?)?;
    let valid = (1..=16).contains(&pad_len) && padding.iter().all(|byte| *byte == pad_len);
    valid.then_some(message)
}

#[test]
fn wrong_lengths_are_refused_and_leave_the_message_as_it_was() {
    for cipher in Cipher::ALL {
        let block_len = cipher.block_len();
        let (key, iv) = (
            vec![7; cipher.key_len()],
            Iv::new(&vec![9; block_len]).unwrap(),
        );
        for len in [0, 1, block_len - 1, block_len + 1, 3 * block_len - 1] {
            let mut bytes = vec![0xaa; len];
            let error = Some(CipherError::Blocks { len });
            assert_eq!(cipher.encrypt(&key, &iv, &mut bytes).err(), error);
            assert_eq!(cipher.decrypt(&key, &iv, &mut bytes).err(), error);
            assert_eq!(bytes, vec![0xaa; len]);
        }
        let mut bytes = vec![0xaa; block_len];
        let error = Some(CipherError::Key { len: key.len() - 1 });
        assert_eq!(cipher.encrypt(&key[1..], &iv, &mut bytes).err(), error);
        assert_eq!(cipher.decrypt(&key[1..], &iv, &mut bytes).err(), error);
        let other_len = 24 - block_len;
        let other = Iv::new(&vec![9; other_len]).unwrap();
        let error = Some(CipherError::Iv { len: other_len });
        assert_eq!(cipher.encrypt(&key, &other, &mut bytes).err(), error);
        assert_eq!(cipher.decrypt(&key, &other, &mut bytes).err(), error);
        assert_eq!(bytes, vec![0xaa; block_len]);
    }
    assert_eq!(Iv::new(&[0; 12]), None);
}
