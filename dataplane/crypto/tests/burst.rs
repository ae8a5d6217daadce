//! Bursts as a caller sees them: mixed suites, wrong operands, forged packets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use culvert_crypto::{
    AesKey, BURST, Engine, Integrity, OpenContext, OpenOp, OperandWrong, SealContext, SealOp, Suite,
};

const AAD: [u8; 8] = [0x10, 0, 0, 1, 0, 0, 0, 7];

fn key(suite: Suite) -> Vec<u8> {
    (0..96)
        .take(suite.key_len())
        .map(|i: u8| i ^ 0x5a)
        .collect()
}

fn contexts(engine: Engine, suite: Suite) -> (SealContext, OpenContext) {
    let key = key(suite);
    (
        SealContext::new(engine, suite, &key).unwrap(),
        OpenContext::new(engine, suite, &key).unwrap(),
    )
}

fn seal(
    engine: Engine,
    context: &SealContext,
    aad: &[u8],
    sequence: u64,
    plaintext: &[u8],
) -> Vec<u8> {
    let mut sealed = vec![0xee; context.suite().sealed_len(plaintext.len())];
    let op = SealOp::new(context, aad, context.iv(sequence), plaintext, &mut sealed).unwrap();
    engine.seal_burst(&mut [op]);
    sealed
}

#[test]
fn a_mixed_burst_opens_what_another_sealed() {
    for engine in Engine::available() {
        check_mixed_burst(engine);
    }
}

fn check_mixed_burst(engine: Engine) {
    let contexts = Suite::ALL.map(|suite| contexts(engine, suite));
    let plaintexts: Vec<Vec<u8>> = (0..BURST).map(|i| vec![0x40; 16 * (1 + i % 9)]).collect();
    let mut sealed: Vec<Vec<u8>> = plaintexts
        .iter()
        .enumerate()
        .map(|(i, p)| vec![0; contexts[i % contexts.len()].0.suite().sealed_len(p.len())])
        .collect();
    let mut ops: Vec<_> = sealed
        .iter_mut()
        .enumerate()
        .map(|(i, out)| {
            let context = &contexts[i % contexts.len()].0;
            SealOp::new(context, &AAD, context.iv(i as u64), &plaintexts[i], out).unwrap()
        })
        .collect();
    engine.seal_burst(&mut ops);

    sealed[3][20] ^= 1;
    let mut opened: Vec<Vec<u8>> = plaintexts.iter().map(|p| vec![0xee; p.len()]).collect();
    let mut ops: Vec<_> = opened
        .iter_mut()
        .enumerate()
        .map(|(i, out)| {
            OpenOp::new(&contexts[i % contexts.len()].1, &AAD, &sealed[i], out).unwrap()
        })
        .collect();
    let verified = engine.open_burst(&mut ops);

    assert_eq!(verified.bits(), !(1 << 3));
    for (i, plaintext) in plaintexts.iter().enumerate() {
        assert_eq!(verified.contains(i), i != 3);
        if i == 3 {
            assert!(opened[i].iter().all(|byte| *byte == 0));
        } else {
            assert_eq!(opened[i], *plaintext);
        }
    }
}

#[test]
fn ops_beyond_the_burst_are_refused_and_their_destinations_zeroed() {
    for engine in Engine::available() {
        let (seal_context, open_context) = contexts(engine, Suite::AesGcm(AesKey::Bits128));
        let sealed = seal(engine, &seal_context, &AAD, 1, &[7; 32]);
        let mut opened = vec![[0xee; 32]; BURST + 2];
        let mut ops: Vec<_> = opened
            .iter_mut()
            .map(|out| OpenOp::new(&open_context, &AAD, &sealed, out).unwrap())
            .collect();
        let verified = engine.open_burst(&mut ops);
        assert_eq!(verified.count(), 64);
        assert!(!verified.contains(BURST));
        assert_eq!(opened[BURST - 1], [7; 32]);
        assert_eq!(opened[BURST], [0; 32]);
        assert_eq!(opened[BURST + 1], [0; 32]);
    }
}

#[test]
fn operands_that_do_not_fit_are_an_error() {
    let (gcm, gcm_open) = contexts(Engine::choose(), Suite::AesGcm(AesKey::Bits256));
    let (cbc, cbc_open) = contexts(
        Engine::choose(),
        Suite::AesCbcHmac(AesKey::Bits256, Integrity::Sha1_96),
    );
    let seal = |context, aad, source_len, destination_len| {
        let (source, mut destination) = (vec![0; source_len], vec![0; destination_len]);
        SealOp::new(context, aad, [0; 16], &source, &mut destination).err()
    };
    let open = |context, aad, source_len, destination_len| {
        let (source, mut destination) = (vec![0; source_len], vec![0; destination_len]);
        OpenOp::new(context, aad, &source, &mut destination).err()
    };
    assert_eq!(seal(&gcm, &AAD, 4, 28), None);
    assert_eq!(
        seal(&gcm, &AAD, 4, 29),
        Some(OperandWrong::Destination {
            len: 29,
            needed: 28
        })
    );
    assert_eq!(
        seal(&gcm, &AAD, 65_536, 65_560),
        Some(OperandWrong::Source { len: 65_536 })
    );
    assert_eq!(
        seal(&cbc, &AAD, 0, 28),
        Some(OperandWrong::Source { len: 0 })
    );
    assert_eq!(
        seal(&cbc, &AAD, 20, 48),
        Some(OperandWrong::Source { len: 20 })
    );
    assert_eq!(
        seal(&cbc, &AAD[..7], 16, 44),
        Some(OperandWrong::Aad { len: 7 })
    );
    assert_eq!(seal(&cbc, &AAD, 16, 44), None);
    assert_eq!(open(&gcm_open, &AAD, 24, 0), None);
    assert_eq!(
        open(&gcm_open, &AAD, 23, 0),
        Some(OperandWrong::Source { len: 23 })
    );
    assert_eq!(
        open(&gcm_open, &AAD, 24, 1),
        Some(OperandWrong::Destination { len: 1, needed: 0 })
    );
    assert_eq!(
        open(&gcm_open, &AAD, 65_536, 65_512),
        Some(OperandWrong::Source { len: 65_536 })
    );
    assert_eq!(
        open(&cbc_open, &AAD, 28, 0),
        Some(OperandWrong::Source { len: 28 })
    );
    assert_eq!(
        open(&cbc_open, &AAD, 45, 17),
        Some(OperandWrong::Source { len: 45 })
    );
    assert_eq!(
        open(&cbc_open, &[0; 9], 44, 16),
        Some(OperandWrong::Aad { len: 9 })
    );
    assert_eq!(open(&cbc_open, &AAD, 44, 16), None);
}

#[test]
fn a_key_of_another_length_is_refused() {
    for (engine, suite) in engines_and_suites() {
        for len in 0..=112 {
            let key = vec![1; len];
            assert_eq!(
                SealContext::new(engine, suite, &key).is_ok(),
                len == suite.key_len()
            );
            assert_eq!(
                OpenContext::new(engine, suite, &key).is_ok(),
                len == suite.key_len()
            );
        }
    }
}

#[test]
fn the_iv_is_the_sequence_number_with_gcm_and_unpredictable_in_cbc_mode() {
    for (engine, suite) in engines_and_suites() {
        let (context, _) = contexts(engine, suite);
        if matches!(suite, Suite::AesGcm(_)) {
            assert_eq!(
                context.iv(0x0102_0304_0506_0708),
                [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]
            );
            continue;
        }
        let bits = 8 * u32::try_from(suite.iv_len()).unwrap();
        let differing: u32 = context
            .iv(1)
            .iter()
            .zip(context.iv(2))
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert!(
            (bits / 4..=bits * 3 / 4).contains(&differing),
            "{differing} of {bits} bits differ"
        );
        assert_eq!(context.iv(9), context.iv(9));
    }
}

#[test]
fn debug_shows_no_key() {
    for (engine, suite) in engines_and_suites() {
        let (seal_context, open_context) = contexts(engine, suite);
        assert!(format!("{seal_context:?}").contains("[redacted]"));
        assert!(format!("{open_context:?}").ends_with("keys: [redacted] }"));
    }
}

#[test]
fn engines_are_found_by_their_names() {
    for engine in Engine::available() {
        assert_eq!(Engine::named(engine.name()), Some(engine));
        assert!(["portable", "aesni", "vaes", "avx512"].contains(&engine.name()));
    }
    assert_eq!(Engine::named("enigma"), None);
}

fn engines_and_suites() -> impl Iterator<Item = (Engine, Suite)> {
    Engine::available().flat_map(|engine| Suite::ALL.map(|suite| (engine, suite)))
}
