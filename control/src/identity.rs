//! The user that both planes become.

use std::fmt;
use std::fs;
use std::str::FromStr;

use culvert_dataplane::confine::{Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A user and a group, neither of them root; `UID:GID` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    uid: u32,
    gid: u32,
}

impl Identity {
    /// The user.
    pub fn uid(self) -> Uid {
        Uid::from_raw(self.uid)
    }

    /// The group.
    pub fn gid(self) -> Gid {
        Gid::from_raw(self.gid)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ids = text
            .split_once(':')
            .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        match ids {
            Some((0, _) | (_, 0)) => Err("root"),
            Some((uid, gid)) => Ok(Self { uid, gid }),
            None => Err("not UID:GID"),
        }
    }
}

/// User and group of `name`: a name in /etc/passwd, or `UID:GID`.
///
/// # Errors
/// There is no such user, or it is root.
pub fn look_up(name: &str) -> Result<Identity, Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(name, &passwd)
}

fn find(name: &str, passwd: &str) -> Result<Identity, Failure> {
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_meant = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        is_meant.then(|| format!("{uid}:{gid}"))
    });
    entry.as_deref().unwrap_or(name).parse().map_err(|why| {
        Failure::Usage(match why {
            "root" => format!("[process] user = \"{name}\": culvert's planes must not run as root; name another user"),
            _ => format!("[process] user = \"{name}\": no such user in /etc/passwd; make one, or write \"UID:GID\""),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nculvert:x:981:982::/nonexistent:/bin/false\n";

    #[test]
    fn a_user_is_found_by_name_or_given_by_numbers() {
        assert_eq!(find("culvert", PASSWD).unwrap().to_string(), "981:982");
        assert_eq!(find("981:982", "").unwrap().to_string(), "981:982");
    }

    #[test]
    fn a_user_that_is_not_there_and_root_are_refused() {
        for name in ["nobody", "981", "1:2:3", "", "root", "0:0"] {
            assert!(
                matches!(find(name, PASSWD), Err(Failure::Usage(_))),
                "{name}"
            );
        }
    }
}
