//! Who may log in, with what, and by which method.
//!
//! | stored | PAP | MS-CHAPv2 | CHAP-MD5 |
//! |---|---|---|---|
//! | Argon2 hash | yes | | |
//! | NT hash | yes | yes | |
//! | the secret itself | yes | yes | yes |
//!
//! An unknown user and a wrong password are told apart by nobody: the work done and the answer are the same.

mod credential;
mod password;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use credential::{Credential, CredentialError};
pub use password::{Password, PasswordCheck};

/// How a peer proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The password in the clear (RFC 1334).
    Pap,
    /// A hash of secret and challenge (RFC 1994).
    ChapMd5,
    /// RFC 2759.
    #[serde(rename = "mschapv2")]
    MsChapV2,
}

/// One user as the users file gives it; exactly one of the three secrets must be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// The name, as the peer must give it; 1 to 255 bytes.
    pub name: String,
    /// An Argon2 hash in PHC form: `$argon2id$v=19$m=19456,t=2,p=1$...`.
    #[serde(default, deserialize_with = "password::from_text")]
    pub argon2: Option<Password>,
    /// The NT hash in 32 hex digits.
    #[serde(default, deserialize_with = "password::from_text")]
    pub nt_hash: Option<Password>,
    /// The secret itself.
    #[serde(default, deserialize_with = "password::from_text")]
    pub secret: Option<Password>,
    /// The address it always gets.
    pub address: Option<Ipv4Addr>,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// What the user is checked against.
    pub credential: Credential,
    /// The address it always gets.
    pub address: Option<Ipv4Addr>,
}

/// Why a users file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersError {
    /// A name is empty or longer than 255 bytes.
    Name(String),
    /// A name comes twice.
    Twice(String),
    /// Two users have one address.
    AddressTwice(String, Ipv4Addr),
    /// A user has none or several of the three secrets, or one that does not parse.
    Credential(String, CredentialError),
}

/// All users.
#[derive(Clone, Default)]
pub struct Users {
    users: BTreeMap<String, User>,
    /// The costliest Argon2 hash of all users: what a check costs if the name is unknown.
    decoy: Option<String>,
}

impl Users {
    /// Takes the users of a file.
    ///
    /// # Errors
    /// [`UsersError`] at the first entry that is wrong.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self, UsersError> {
        let mut all = Self::default();
        let mut addresses = BTreeMap::new();
        for entry in entries {
            let name = entry.name.clone();
            if name.is_empty() || name.len() > 255 {
                return Err(UsersError::Name(name));
            }
            let credential = Credential::read(&entry)
                .map_err(|error| UsersError::Credential(name.clone(), error))?;
            if let Some(address) = entry.address
                && addresses.insert(address, name.clone()).is_some()
            {
                return Err(UsersError::AddressTwice(name, address));
            }
            let address = entry.address;
            let user = User {
                credential,
                address,
            };
            if all.users.insert(name.clone(), user).is_some() {
                return Err(UsersError::Twice(name));
            }
        }
        all.decoy = credential::costliest(all.users.values().map(|user| &user.credential));
        Ok(all)
    }

    /// The user of that name, a domain before a backslash left out if need be.
    pub fn find(&self, name: &[u8]) -> Option<(&str, &User)> {
        let name = std::str::from_utf8(name).ok()?;
        let without_domain = || self.users.get_key_value(name.rsplit('\\').next()?);
        let (name, user) = self.users.get_key_value(name).or_else(without_domain)?;
        Some((name, user))
    }

    /// Names of users that none of `methods` serves, in order.
    pub fn unserved(&self, methods: &[Method]) -> Vec<&str> {
        let unserved = self.users.iter().filter(|(_, user)| {
            let serves = |method: &Method| user.credential.serves(*method);
            !methods.iter().any(serves)
        });
        unserved.map(|(name, _)| name.as_str()).collect()
    }

    /// Fixed addresses of all users.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let addresses = self.users.values().filter_map(|user| user.address);
        addresses.collect()
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The work of comparing a password: of the same cost whoever the user is, and false in the end if there is none.
    pub fn check(&self, name: &[u8], password: Password) -> PasswordCheck {
        let credential = self.find(name).map(|(_, user)| &user.credential);
        PasswordCheck::new(credential, self.decoy.as_ref(), password)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.users.len())
    }
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "a user's name must have 1 to 255 bytes, not {}",
                name.len()
            ),
            Self::Twice(name) => write!(f, "user {name:?} comes twice"),
            Self::AddressTwice(name, address) => {
                write!(f, "user {name:?} has the address of another: {address}")
            }
            Self::Credential(name, error) => write!(f, "user {name:?}: {error}"),
        }
    }
}

impl std::error::Error for UsersError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        serde_json::from_str(json).unwrap()
    }

    fn users(entries: &[&str]) -> Result<Users, UsersError> {
        Users::new(entries.iter().map(|json| entry(json)))
    }

    fn argon2(text: &str) -> String {
        password::hash_for_tests(text)
    }

    fn mixed() -> Users {
        users(&[
            r#"{"name": "alice", "secret": "wonder-Land9"}"#,
            &format!(r#"{{"name": "bob", "argon2": "{}"}}"#, argon2("builder-7")),
            // The NT hash of "clientPass" (RFC 2759 §9.2).
            r#"{"name": "carol", "nt-hash": "44EBBA8D5312B8D611474411F56989AE", "address": "10.0.0.9"}"#,
        ])
        .unwrap()
    }

    fn accepted(users: &Users, name: &str, password: &str) -> bool {
        users.check(name.as_bytes(), Password::from(password)).run()
    }

    #[test]
    fn each_kind_of_secret_accepts_its_password_only() {
        let users = mixed();
        let right = [
            ("alice", "wonder-Land9"),
            ("bob", "builder-7"),
            ("carol", "clientPass"),
        ];
        for (name, password) in right {
            assert!(accepted(&users, name, password), "{name}");
            assert!(
                accepted(&users, &format!("CORP\\{name}"), password),
                "{name}"
            );
            for wrong in ["", "wonder-Land", "wonder-Land99", "x"] {
                assert!(!accepted(&users, name, wrong), "{name}");
            }
        }
        assert!(!accepted(&users, "mallory", "builder-7"));
        assert!(!accepted(&users, "", ""));
    }

    #[test]
    fn a_check_costs_one_hash_whoever_the_user_is() {
        let users = mixed();
        for name in ["alice", "bob", "carol", "mallory"] {
            let check = users.check(name.as_bytes(), Password::from("x"));
            assert_eq!(check.hashes(), 1, "{name}");
        }
        let quick = self::users(&[r#"{"name": "alice", "secret": "s"}"#]).unwrap();
        for name in ["alice", "mallory"] {
            assert_eq!(
                quick.check(name.as_bytes(), Password::from("x")).hashes(),
                0
            );
        }
    }

    #[test]
    fn users_that_no_method_serves_are_named() {
        let users = mixed();
        assert_eq!(users.unserved(&[Method::Pap]), [""; 0]);
        assert_eq!(users.unserved(&[Method::MsChapV2]), ["bob"]);
        assert_eq!(users.unserved(&[Method::ChapMd5]), ["bob", "carol"]);
        assert_eq!(users.unserved(&[]), ["alice", "bob", "carol"]);
    }

    #[test]
    fn wrong_entries_are_refused() {
        let refused = |json: &[&str]| users(json).unwrap_err();
        let credential = |error| UsersError::Credential("a".into(), error);
        assert_eq!(
            refused(&[r#"{"name": "a"}"#]),
            credential(CredentialError::NotOne)
        );
        let two = r#"{"name": "a", "secret": "s", "nt-hash": "00"}"#;
        assert_eq!(refused(&[two]), credential(CredentialError::NotOne));
        let short = r#"{"name": "a", "nt-hash": "00"}"#;
        assert_eq!(refused(&[short]), credential(CredentialError::NtHash));
        let foreign = r#"{"name": "a", "argon2": "$2b$12$abc"}"#;
        assert_eq!(refused(&[foreign]), credential(CredentialError::Argon2));
        let huge = r#"{"name": "a", "argon2": "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$6iC0Q8Wfb6b9Zb2+1Zq9eC2CV1n7tXyS0kqs1M0Xh3E"}"#;
        assert_eq!(refused(&[huge]), credential(CredentialError::Argon2));
        let a = r#"{"name": "a", "secret": "s", "address": "10.0.0.1"}"#;
        assert_eq!(
            refused(&[a, &a.replace("10.0.0.1", "10.0.0.2")]),
            UsersError::Twice("a".into())
        );
        let b = a.replace("\"a\"", "\"b\"");
        let twice = UsersError::AddressTwice("b".into(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(refused(&[a, &b]), twice);
        assert_eq!(
            refused(&[r#"{"name": "", "secret": "s"}"#]),
            UsersError::Name("".into())
        );
        let unknown = serde_json::from_str::<Entry>(r#"{"name": "a", "secert": "s"}"#);
        assert!(unknown.is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", mixed());
        assert!(!text.contains("wonder") && !text.contains("44EB") && !text.contains("argon2id"));
        let text = format!(
            "{:?}",
            entry(r#"{"name": "alice", "secret": "wonder-Land9"}"#)
        );
        assert!(!text.contains("wonder"));
    }
}
