//! The user that control becomes.

use std::fs;

use crate::failure::Failure;

/// User and group ids of `name`: a name in /etc/passwd, or `UID:GID`.
///
/// # Errors
/// There is no such user, or it is root.
pub fn look_up(name: &str) -> Result<(u32, u32), Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(name, &passwd)
}

fn find(name: &str, passwd: &str) -> Result<(u32, u32), Failure> {
    let ids = numbers(name.split(':')).or_else(|| {
        let mut entries = passwd.lines().map(|line| line.split(':'));
        let entry = entries.find(|fields| fields.clone().next() == Some(name))?;
        numbers(entry.skip(2).take(2))
    });
    match ids {
        Some((0, _)) => Err(Failure::Usage(format!(
            "[process] user = \"{name}\": control must not run as root; name another user"
        ))),
        Some(ids) => Ok(ids),
        None => Err(Failure::Usage(format!(
            "[process] user = \"{name}\": no such user in /etc/passwd; make one, or write \"UID:GID\""
        ))),
    }
}

fn numbers<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<(u32, u32)> {
    let ids = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nculvert:x:981:982::/nonexistent:/bin/false\n";

    #[test]
    fn a_user_is_found_by_name_or_given_by_numbers() {
        assert_eq!(find("culvert", PASSWD).unwrap(), (981, 982));
        assert_eq!(find("981:982", "").unwrap(), (981, 982));
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
