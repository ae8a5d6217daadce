//! Bad use gets a clear message and exit code 2.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CULVERT: &str = env!("CARGO_BIN_EXE_culvert");

const GOOD: &str = r#"[outer]
interface = "lo"
[ike]
[[ike.psk]]
peer = "any"
secret = "kT4vQz81mWcE0pLr9sXy"
[ppp]
gateway = "10.0.0.1"
[[pool]]
addresses = "10.0.0.0/24"
[users]
file = "users"
"#;

const USERS: &str = "[[user]]\nname = \"alice\"\nnt-hash = \"44ebba8d5312b8d611474411f56989ae\"\n";

/// A folder with a configuration and a users file.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("culvert.toml", config);
        folder.write("users", USERS);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.set_mode(name, 0o600);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn culvert(&self, command: &str) -> Output {
        Command::new(CULVERT)
            .args([command, "-c"])
            .arg(self.path("culvert.toml"))
            .output()
            .unwrap()
    }
}

/// Expects exit code 2 from both `run` and `check`, and each of `messages` in what they say.
#[track_caller]
fn refused(folder: &Folder, messages: &[&str]) {
    for command in ["run", "check"] {
        refused_by(&folder.culvert(command), messages);
    }
}

#[track_caller]
fn refused_by(output: &Output, messages: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for message in messages {
        assert!(text.contains(message), "no {message:?} in {text}");
    }
    assert!(!text.contains("kT4vQz81mWcE0pLr9sXy"), "{text}");
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

#[test]
fn an_unknown_key_is_named_with_line_and_column() {
    let folder = Folder::new(&GOOD.replace("interface", "device"));
    refused(
        &folder,
        &["culvert.toml:2:1:", "unknown field `device`", "`interface`"],
    );
}

#[test]
fn a_weak_key_needs_a_reason() {
    let folder = Folder::new(&GOOD.replace("kT4vQz81mWcE0pLr9sXy", "swordfish"));
    refused(
        &folder,
        &[
            "culvert.toml:6:10:",
            "weak pre-shared key",
            "allow_weak_psk",
        ],
    );
}

#[test]
fn overlapping_pools_are_refused() {
    let folder = Folder::new(&format!(
        "{GOOD}[[pool]]\naddresses = \"10.0.0.9-10.0.1.9\"\n"
    ));
    refused(&folder, &["culvert.toml:14:13:", "overlaps the pool"]);
}

#[test]
fn a_configuration_readable_by_others_is_refused() {
    let folder = Folder::new(GOOD);
    folder.set_mode("culvert.toml", 0o644);
    refused(&folder, &["may be read or changed by others", "chmod 600"]);
}

#[test]
fn a_configuration_that_is_a_symlink_or_anothers_is_refused() {
    let folder = Folder::new(GOOD);
    fs::rename(folder.path("culvert.toml"), folder.path("real.toml")).unwrap();
    symlink(folder.path("real.toml"), folder.path("culvert.toml")).unwrap();
    refused(&folder, &["is a symbolic link"]);
    if is_root() {
        let folder = Folder::new(GOOD);
        std::os::unix::fs::chown(folder.path("culvert.toml"), Some(12_345), None).unwrap();
        refused(&folder, &["belongs to user 12345"]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let folder = Folder::new(GOOD);
    fs::remove_file(folder.path("culvert.toml")).unwrap();
    refused(&folder, &["culvert.toml: No such file"]);
}

#[test]
fn a_users_file_readable_by_others_or_wrong_is_refused() {
    if !is_root() {
        return;
    }
    let folder = Folder::new(GOOD);
    folder.set_mode("users", 0o644);
    refused(&folder, &["users: may be read or changed by others"]);
    folder.write("users", &format!("{USERS}{USERS}"));
    refused(&folder, &["users:4:1:", "alice"]);
}

#[test]
fn a_missing_device_is_named() {
    if !is_root() {
        return;
    }
    let folder = Folder::new(&GOOD.replace("\"lo\"", "\"none0\""));
    refused_by(&folder.culvert("run"), &["there is no device none0"]);
}

#[test]
fn a_user_that_is_not_there_is_named() {
    if !is_root() {
        return;
    }
    let folder = Folder::new(&format!(
        "{GOOD}[process]\nuser = \"nobody-of-that-name\"\n"
    ));
    refused(&folder, &["no such user", "nobody-of-that-name"]);
}

#[test]
fn without_privilege_it_says_what_is_missing() {
    let folder = Folder::new(GOOD);
    let mut command;
    if rustix::process::geteuid().is_root() {
        // A copy, as the executable may lie where nobody else may go.
        let copy = folder.path("culvert");
        fs::copy(CULVERT, &copy).unwrap();
        fs::set_permissions(folder.0.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["culvert.toml", "users"] {
            std::os::unix::fs::chown(folder.path(name), Some(65_534), Some(65_534)).unwrap();
        }
        command = Command::new(copy);
        command.uid(65_534).gid(65_534);
    } else {
        command = Command::new(CULVERT);
    }
    let output = command
        .args(["run", "-c"])
        .arg(folder.path("culvert.toml"))
        .output()
        .unwrap();
    refused_by(&output, &["no privilege", "CAP_NET_ADMIN", "as root"]);
}

#[test]
fn a_status_of_nobody_is_told_how_to_ask() {
    let output = Command::new(CULVERT)
        .args(["status", "-s", "/nonexistent/status.sock"])
        .output()
        .unwrap();
    refused_by(&output, &["no culvert runs there", "--socket"]);
}

#[test]
fn a_command_that_is_not_one_is_explained() {
    let output = Command::new(CULVERT).arg("serve").output().unwrap();
    refused_by(&output, &["unrecognized subcommand", "Usage"]);
}

#[test]
fn help_teaches_with_examples() {
    let output = Command::new(CULVERT).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for part in [
        "Examples:",
        "culvert run -c",
        "[[ike.psk]]",
        "culvert passwd",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("dataplane"), "{text}");
}

#[test]
fn check_says_what_would_be_served_and_who_could_not_log_in() {
    let folder = Folder::new(&GOOD.replace("[ppp]", "[ppp]\nmethods = [\"chap-md5\"]"));
    let output = folder.culvert("check");
    let (served, warned) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{warned}");
    assert!(
        served.contains("253 addresses in 10.0.0.1-10.0.0.254, gateway 10.0.0.1"),
        "{served}"
    );
    assert!(served.contains("PPP with chap-md5"), "{served}");
    assert!(
        warned.contains("user alice can use none of the offered methods"),
        "{warned}"
    );
}

#[test]
fn passwd_makes_entries_that_check_accepts() {
    let folder = Folder::new(GOOD);
    let password = folder.path("password");
    fs::write(&password, "wonder land\n").unwrap();
    let input = |path: &Path| fs::File::open(path).unwrap();
    let mut users = String::new();
    for (name, stored) in [("bob", "nt-hash"), ("carol", "argon2"), ("dave", "secret")] {
        let mut command = Command::new(CULVERT);
        let output = command
            .args(["passwd", name, "-s", stored])
            .stdin(input(&password))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        users.push_str(std::str::from_utf8(&output.stdout).unwrap());
    }
    folder.write("users", &users);
    let output = folder.culvert("check");
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{warned}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 users"));
    assert!(
        warned.contains("carol") && !warned.contains("bob") && !warned.contains("dave"),
        "{warned}"
    );
}
