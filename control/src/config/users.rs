//! The users file: `[[user]]` tables, each with a name, one secret and perhaps an address.

use std::path::Path;

use culvert_proto::users::{Entry, Users, UsersError};
use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{ConfigError, Source, secure_file};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<Spanned<Entry>>,
}

/// Reads the users file at `path`; returns its text, for [`parse`] in another process.
///
/// # Errors
/// The file must not be trusted.
pub fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    Ok(secure_file::read(path)?)
}

/// Parses the text of the users file at `path`.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(path: &Path, text: &str) -> Result<Users, ConfigError> {
    let source = Source { path, text };
    let file: File = toml::from_str(text)
        .map_err(|error| source.mistake(error.span().unwrap_or(0..0), error.message()))?;
    let names: Vec<_> = file
        .user
        .iter()
        .map(|entry| (entry.get_ref().name.clone(), entry.span()))
        .collect();
    Users::new(file.user.into_iter().map(Spanned::into_inner)).map_err(|error| {
        let place = names.iter().rev().find(|(name, _)| name == culprit(&error));
        source.mistake(
            place.map_or(0..0, |(_, span)| span.clone()),
            error.to_string(),
        )
    })
}

fn culprit(error: &UsersError) -> &str {
    match error {
        UsersError::Name(name)
        | UsersError::Twice(name)
        | UsersError::AddressTwice(name, _)
        | UsersError::Credential(name, _) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> (usize, String) {
        match parse(Path::new("users"), text).unwrap_err() {
            ConfigError::At(mistake) => (mistake.line, mistake.message),
            ConfigError::File(error) => panic!("{error}"),
        }
    }

    #[test]
    fn users_have_a_secret_and_perhaps_an_address() {
        let text = "[[user]]\nname = \"alice\"\nsecret = \"wonder\"\naddress = \"10.0.0.9\"\n[[user]]\nname = \"bob\"\nnt-hash = \"44EBBA8D5312B8D611474411F56989AE\"\n";
        let users = parse(Path::new("users"), text).unwrap();
        assert_eq!(users.len(), 2);
        assert!(parse(Path::new("users"), "").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let (line, message) = mistake("[[user]]\nname = \"alice\"\npassword = \"x\"\n");
        assert_eq!(line, 3);
        assert!(message.contains("unknown field `password`"), "{message}");
        let twice = "[[user]]\nname = \"alice\"\nsecret = \"x\"\n";
        let (line, _) = mistake(&format!("{twice}{twice}"));
        assert_eq!(line, 4);
        assert_eq!(mistake("[[user]]\nname = \"alice\"\n").0, 1);
    }
}
