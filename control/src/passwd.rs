//! `culvert passwd`: an entry for the users file.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use culvert_proto::crypto::mschapv2::NtHash;
use zeroize::Zeroizing;

use crate::cli::{PasswdOptions, Stored};
use crate::failure::Failure;

/// Longest password in bytes: MS-CHAPv2 takes 256 characters (RFC 2759 §3).
const MAX_PASSWORD: usize = 256;
/// Longest name in bytes.
const MAX_NAME: usize = 255;
const SALT: usize = 16;

/// The entry for the user that `options` names, with the password from standard input.
///
/// # Errors
/// No password, or a name that nobody could give.
pub fn entry(options: &PasswdOptions) -> Result<Zeroizing<String>, Failure> {
    let password = read_password()?;
    compose(options, &password)
}

fn read_password() -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        tracing::info!("password (it will be shown; pipe it in to avoid that):");
    }
    let mut line = Zeroizing::new(String::with_capacity(4 * MAX_PASSWORD));
    io::stdin().lock().read_line(&mut line)?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

fn compose(options: &PasswdOptions, password: &str) -> Result<Zeroizing<String>, Failure> {
    let PasswdOptions {
        name,
        stored,
        address,
    } = options;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Failure::Usage(format!("a name has 1 to {MAX_NAME} bytes")));
    }
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(Failure::Usage(format!(
            "a password of 1 to {MAX_PASSWORD} bytes is wanted on standard input"
        )));
    }
    let (key, value) = match stored {
        Stored::NtHash => ("nt-hash", nt_hash(password)),
        Stored::Argon2 => ("argon2", argon2_hash(password)?),
        Stored::Secret => ("secret", Zeroizing::new(password.to_owned())),
    };
    let mut text = Zeroizing::new(String::with_capacity(8 * MAX_PASSWORD));
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "[[user]]\nname = {}\n{key} = {}",
        quoted(name),
        quoted(&value)
    );
    if let Some(address) = address {
        let _ = writeln!(text, "address = \"{address}\"");
    }
    Ok(text)
}

fn nt_hash(password: &str) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(32));
    for byte in NtHash::of_password(password).expose() {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn argon2_hash(password: &str) -> Result<Zeroizing<String>, Failure> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| Failure::Internal(error.to_string()))?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(Zeroizing::new(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use culvert_proto::users::Method;

    use super::*;
    use crate::config::users;

    fn options(stored: Stored) -> PasswdOptions {
        PasswdOptions {
            name: "al\"ice".to_owned(),
            stored,
            address: Some(std::net::Ipv4Addr::new(10, 0, 0, 9)),
        }
    }

    #[test]
    fn every_form_is_read_back_and_serves_what_it_should() {
        let all = [Method::Pap, Method::MsChapV2, Method::ChapMd5];
        for (stored, served) in [
            (Stored::Argon2, 1),
            (Stored::NtHash, 2),
            (Stored::Secret, 3),
        ] {
            let text = compose(&options(stored), "pass\\word \"1\"").unwrap();
            let users = users::parse(Path::new("users"), &text).unwrap();
            let (_, user) = users.find(b"al\"ice").unwrap();
            assert_eq!(
                all.iter()
                    .filter(|method| user.credential.serves(**method))
                    .count(),
                served
            );
            assert_eq!(user.address, Some(std::net::Ipv4Addr::new(10, 0, 0, 9)));
        }
    }

    #[test]
    fn the_nt_hash_is_that_of_rfc_2759() {
        // RFC 2759 §9.2
        assert_eq!(
            nt_hash("clientPass").as_str(),
            "44ebba8d5312b8d611474411f56989ae"
        );
    }

    #[test]
    fn an_empty_password_is_refused() {
        assert!(matches!(
            compose(&options(Stored::NtHash), ""),
            Err(Failure::Usage(_))
        ));
    }
}
