//! Files that hold secrets: read only when nobody else could have read or written them.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Largest file read, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Others may read or write, or the group may write.
const TOO_OPEN: u32 = 0o027;

/// Why a file was not read.
#[derive(Debug)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is a symbolic link.
    Symlink,
    /// It is a directory, device, socket or pipe.
    NotRegular,
    /// Others may read or write it, or its group may write it; these are its permission bits.
    Open(u32),
    /// It belongs to this user, who is neither root nor us.
    Owner(u32),
    /// It is longer than [`MAX_BYTES`].
    TooLong,
    /// It is not UTF-8.
    NotText,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Io(error) => write!(f, "{path}: {error}"),
            Problem::Symlink => write!(
                f,
                "{path}: is a symbolic link, which another user might turn elsewhere; name the file itself"
            ),
            Problem::NotRegular => write!(f, "{path}: is not a regular file"),
            Problem::Open(mode) => write!(
                f,
                "{path}: may be read or changed by others (mode {mode:04o}); run: chmod 600 {path}"
            ),
            Problem::Owner(uid) => write!(
                f,
                "{path}: belongs to user {uid}, who is neither root nor the one who runs culvert; run: chown root {path}"
            ),
            Problem::TooLong => write!(f, "{path}: is longer than {MAX_BYTES} bytes"),
            Problem::NotText => write!(f, "{path}: is not UTF-8 text"),
        }
    }
}

impl std::error::Error for FileError {}

/// Reads the text of `path`, wiped when dropped.
///
/// # Errors
/// The file is a symlink or not regular, is owned by another user than root or us, is open to others, is too long, or is not text.
pub fn read(path: &Path) -> Result<Zeroizing<String>, FileError> {
    read_checked(path).map_err(|problem| FileError {
        path: path.to_owned(),
        problem,
    })
}

fn read_checked(path: &Path) -> Result<Zeroizing<String>, Problem> {
    // All checks are on the opened file, so nobody can put another in its place between check and use.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => Problem::Symlink,
            Some(_) | None => Problem::Io(error),
        })?;
    let metadata = file.metadata().map_err(Problem::Io)?;
    if !metadata.is_file() {
        return Err(Problem::NotRegular);
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Problem::Owner(owner));
    }
    if metadata.mode() & TOO_OPEN != 0 {
        return Err(Problem::Open(metadata.mode() & 0o7777));
    }
    if metadata.len() > MAX_BYTES {
        return Err(Problem::TooLong);
    }
    // The capacity at once: a buffer that grows leaves copies of secrets behind.
    let capacity = usize::try_from(metadata.len()).map_err(|_| Problem::TooLong)? + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Problem::Io)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::NotText)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_private_file_is_read() {
        for mode in [0o600, 0o400, 0o640] {
            let (_dir, path) = file(mode);
            assert_eq!(read(&path).unwrap().as_str(), "text");
        }
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_its_mode() {
        for mode in [0o644, 0o604, 0o602, 0o620, 0o666] {
            let (_dir, path) = file(mode);
            let error = read(&path).unwrap_err();
            assert!(
                matches!(error.problem, Problem::Open(m) if m == mode),
                "{error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_symlink_is_refused() {
        let (dir, path) = file(0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read(&link).unwrap_err().problem, Problem::Symlink));
    }

    #[test]
    fn a_directory_and_a_pipe_are_refused() {
        let (dir, path) = file(0o600);
        assert!(matches!(
            read(dir.path()).unwrap_err().problem,
            Problem::NotRegular
        ));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(matches!(
            read(&path).unwrap_err().problem,
            Problem::NotRegular
        ));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let (_dir, path) = file(0o600);
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            eprintln!("skipped: giving files away needs root");
            return;
        }
        assert!(matches!(
            read(&path).unwrap_err().problem,
            Problem::Owner(12_345)
        ));
    }

    #[test]
    fn a_missing_file_says_so() {
        let error = read(Path::new("/nonexistent/culvert.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/culvert.toml: No such file")
        );
    }
}
