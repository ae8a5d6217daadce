//! What a configuration may say, and what each mistake gets as an answer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

const GOOD: &str = r#"[outer]
interface = "eth0"
addresses = ["198.51.100.10"]
[[listen]]
address = "198.51.100.10"
legacy = ["modp1024", "3des"]
allow_clear_l2tp = true
[ike]
[[ike.psk]]
peer = "any"
secret = "kT4vQz81mWcE0pLr9sXy"
[[ike.psk]]
peer = "203.0.113.0/24"
secret_file = "office.psk"
[[ike.psk]]
peer = "203.0.113.7"
secret = "pLr9sXykT4vQz81mWcE0"
[ppp]
methods = ["mschapv2", "pap"]
gateway = "10.0.0.1"
[[pool]]
addresses = "10.0.0.0/24"
[users]
file = "users"
"#;

/// Writes `text` and the secret file that [`GOOD`] names, both private, and loads it.
fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("culvert.toml", text),
        ("office.psk", "mWcE0pLr9sXykT4vQz81\n"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    Config::load(&dir.path().join("culvert.toml"))
}

#[track_caller]
fn mistake(text: &str) -> (usize, usize, String) {
    match load(text).unwrap_err() {
        ConfigError::At(mistake) => (mistake.line, mistake.column, mistake.message),
        ConfigError::File(error) => panic!("{error}"),
    }
}

/// Loads [`GOOD`] with `from` replaced by `to` and expects a mistake at that place whose message contains `message`.
#[track_caller]
fn refused(from: &str, to: &str, at: (usize, usize), message: &str) {
    assert!(GOOD.contains(from), "{from}");
    let (line, column, got) = mistake(&GOOD.replace(from, to));
    assert!(got.contains(message), "{got}");
    assert_eq!((line, column), at, "{got}");
}

#[test]
fn a_good_file_loads_with_its_defaults() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.outer, "eth0");
    assert_eq!(config.core, None);
    assert_eq!(
        config.workers,
        [Worker {
            cpu: None,
            queue: 0
        }]
    );
    assert_eq!(config.ppp.mru, 1_400);
    assert_eq!(config.l2tp.hello, Duration::from_secs(60));
    assert_eq!(config.process.user, "nobody");
    assert_eq!(config.process.status_socket, Path::new(STATUS_SOCKET));
    assert!(config.users.ends_with("users") && config.users.is_absolute());
    assert!(
        config.listeners[0].modp1024
            && config.listeners[0].triple_des
            && config.listeners[0].clear_l2tp
    );
}

#[test]
fn keys_come_narrowest_first_and_from_files_without_the_final_newline() {
    let config = load(GOOD).unwrap();
    let peers: Vec<_> = config.psks.iter().map(|psk| psk.peer.to_string()).collect();
    assert_eq!(peers, ["203.0.113.7", "203.0.113.0/24", "any"]);
    assert_eq!(config.psks[1].secret.expose(), "mWcE0pLr9sXykT4vQz81");
}

#[test]
fn strict_is_the_default() {
    let text = GOOD.replace(
        "legacy = [\"modp1024\", \"3des\"]\nallow_clear_l2tp = true\n",
        "",
    );
    let listener = load(&text).unwrap().listeners[0];
    assert!(!listener.modp1024 && !listener.triple_des && !listener.clear_l2tp);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_known_ones() {
    refused(
        "interface =",
        "interfaces =",
        (2, 1),
        "unknown field `interfaces`, expected",
    );
    refused(
        "[users]",
        "[user]",
        (23, 2),
        "unknown field `user`, expected",
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_place() {
    refused("\"eth0\"", "0", (2, 13), "expected a string");
    refused(
        "[\"198.51.100.10\"]",
        "[\"198.51.100\"]",
        (3, 14),
        "invalid IPv4 address",
    );
    refused(
        "\"pap\"]",
        "\"eap\"]",
        (19, 24),
        "unknown variant `eap`, expected one of",
    );
}

#[test]
fn text_that_is_not_toml_is_named_with_its_place() {
    refused("[ike]", "[ike", (8, 5), "");
}

#[test]
fn a_missing_table_is_named() {
    let (_, _, message) = mistake("");
    assert!(message.contains("missing field `outer`"), "{message}");
}

#[test]
fn overlapping_pools_are_refused() {
    let second = "addresses = \"10.0.0.0/24\"\n[[pool]]\naddresses = \"10.0.0.200-10.0.1.3\"";
    refused(
        "addresses = \"10.0.0.0/24\"",
        second,
        (24, 13),
        "overlaps the pool 10.0.0.1-10.0.0.254",
    );
}

#[test]
fn a_malformed_or_missing_pool_is_refused() {
    refused("\"10.0.0.0/24\"", "\"10.0.0.9/24\"", (22, 13), "a pool is");
    let without = GOOD.replace("[[pool]]\naddresses = \"10.0.0.0/24\"\n", "");
    let (line, column, message) = mistake(&format!("pool = []\n{without}"));
    assert_eq!((line, column), (1, 8), "{message}");
    assert!(message.contains("no pool"), "{message}");
}

#[test]
fn a_weak_key_is_refused_without_a_reason_and_its_text_is_not_shown() {
    refused(
        "kT4vQz81mWcE0pLr9sXy",
        "swordfish",
        (11, 10),
        "weak pre-shared key: 9 characters",
    );
    let (_, _, message) = mistake(&GOOD.replace("kT4vQz81mWcE0pLr9sXy", "swordfish"));
    assert!(!message.contains("swordfish"), "{message}");
    assert!(message.contains("allow_weak_psk"), "{message}");
}

#[test]
fn a_weak_key_is_accepted_with_a_reason_but_an_empty_reason_is_none() {
    let weak = GOOD.replace("kT4vQz81mWcE0pLr9sXy", "swordfish");
    let reasoned = weak.replace("[ike]", "[ike]\nallow_weak_psk = \"a lab\"");
    assert_eq!(
        load(&reasoned).unwrap().allow_weak_psk.as_deref(),
        Some("a lab")
    );
    let (line, column, message) = mistake(&weak.replace("[ike]", "[ike]\nallow_weak_psk = \" \""));
    assert_eq!((line, column), (9, 18), "{message}");
    let empty = reasoned.replace("swordfish", "");
    assert!(mistake(&empty).2.contains("weak pre-shared key"));
}

#[test]
fn each_key_has_one_peer_and_one_secret() {
    refused(
        "peer = \"203.0.113.7\"",
        "peer = \"any\"",
        (16, 8),
        "a second key for the same peer",
    );
    refused(
        "peer = \"203.0.113.7\"",
        "peer = \"everyone\"",
        (16, 8),
        "a peer is",
    );
    refused(
        "secret_file = \"office.psk\"\n",
        "",
        (13, 8),
        "needs `secret` or `secret_file`",
    );
    refused(
        "secret_file = \"office.psk\"",
        "secret_file = \"office.psk\"\nsecret = \"x\"",
        (14, 15),
        "either `secret` or `secret_file`",
    );
}

#[test]
fn workers_pair_cpus_with_queues() {
    let with = |table: &str| GOOD.replace("[[listen]]", &format!("[workers]\n{table}\n[[listen]]"));
    let config = load(&with("cpus = [2, 3]")).unwrap();
    let pairs: Vec<_> = config
        .workers
        .iter()
        .map(|worker| (worker.cpu, worker.queue))
        .collect();
    assert_eq!(pairs, [(Some(2), 0), (Some(3), 1)]);
    let config = load(&with("queues = [4, 5]")).unwrap();
    let pairs: Vec<_> = config
        .workers
        .iter()
        .map(|worker| (worker.cpu, worker.queue))
        .collect();
    assert_eq!(pairs, [(None, 4), (None, 5)]);
    assert!(
        mistake(&with("cpus = [1]\nqueues = [0, 1]"))
            .2
            .contains("the same length")
    );
    assert!(
        mistake(&with("cpus = [1, 1]"))
            .2
            .contains("CPU 1 is named twice")
    );
    assert!(
        mistake(&with("queues = []"))
            .2
            .contains("entries are needed")
    );
}

#[test]
fn a_listener_is_for_an_address_of_ours_and_only_one() {
    let other = GOOD.replace(
        "[[listen]]\naddress = \"198.51.100.10\"",
        "[[listen]]\naddress = \"198.51.100.11\"",
    );
    assert!(mistake(&other).2.contains("not among the outer addresses"));
    let twice = GOOD.replace(
        "[ike]\n",
        "[[listen]]\naddress = \"198.51.100.10\"\n[ike]\n",
    );
    assert!(mistake(&twice).2.contains("a second [[listen]]"));
}

#[test]
fn numbers_out_of_range_name_the_range() {
    refused("gateway =", "mru = 500\ngateway =", (20, 7), "576 to 1500");
    refused("gateway =", "mru = 70000\ngateway =", (20, 7), "");
    refused(
        "[users]",
        "[limits]\nshards = 0\n[users]",
        (24, 10),
        "1 to 1024",
    );
}

#[test]
fn the_core_interface_is_another_than_the_outer() {
    refused(
        "[[listen]]",
        "[core]\ninterface = \"eth0\"\n[[listen]]",
        (5, 13),
        "another than the outer",
    );
}

#[test]
fn a_key_file_readable_by_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content, mode) in [("culvert.toml", GOOD, 0o600), ("office.psk", "x", 0o644)] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let error = Config::load(&dir.path().join("culvert.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("office.psk: may be read or changed by others"),
        "{error}"
    );
}

#[test]
fn a_configuration_travels_and_prints_without_its_secrets() {
    let config = load(GOOD).unwrap();
    let bytes = postcard::to_allocvec(&config).unwrap();
    assert_eq!(postcard::from_bytes::<Config>(&bytes).unwrap(), config);
    assert!(!format!("{config:?}").contains("kT4vQz81mWcE0pLr9sXy"));
}
