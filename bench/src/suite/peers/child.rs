//! A peer that is a program of its own.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::measure::Placement;

/// How often we look whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The least niceness. A peer has to hold its core against others without real-time priority, which would let it wait for itself.
const FIRST: i32 = -20;
/// Where the scheduler divides a core among sessions first (`autogroup` in sched(7)), niceness counts only inside one.
const FIRST_OF_SESSIONS: &str =
    r#"{ echo -20 > /proc/self/autogroup; } 2> /dev/null; exec "$0" "$@""#;

/// Runs a program to its end, by the ordinary policy and on any core; returns what it said on both its outputs.
///
/// # Errors
/// [`Failure::Interrupted`] if the user asks to stop, and [`Failure::Command`] in the program's words if it fails or has not ended after
/// `patience` or cannot be started; either ends it.
pub(super) fn run(
    program: &Path,
    arguments: &[String],
    patience: Duration,
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let refused = || Failure::io(program.display().to_string());
    let mut said = tempfile::tempfile().map_err(refused())?;
    let mut started = Started::new(program, arguments, &said).map_err(refused())?;
    let ended = started.wait(patience, interrupt)?;
    drop(started);
    let mut words = Vec::new();
    said.rewind().map_err(refused())?;
    said.read_to_end(&mut words).map_err(refused())?;
    let words = String::from_utf8_lossy(&words).into_owned();
    let why = match ended {
        Some(status) if status.success() => return Ok(words),
        Some(status) => status.to_string(),
        None => format!("not ended after {} s", patience.as_secs()),
    };
    let command = format!("{} {}", program.display(), arguments.join(" "));
    Err(Failure::Command(command, format!("{why}\n{words}")))
}

/// Ended when dropped.
struct Started(Child);

impl Started {
    fn new(program: &Path, arguments: &[String], says: &File) -> io::Result<Self> {
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", FIRST_OF_SESSIONS])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(says.try_clone()?)
            .stderr(says.try_clone()?);
        Placement::without(|| {
            // Refused means that it stands as others do.
            let _ = setpriority_process(None, FIRST);
            command.spawn()
        })
        .map(Self)
    }

    /// How it ended; `None` if it has not after `patience`.
    fn wait(
        &mut self,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<ExitStatus>, Failure> {
        let since = Instant::now();
        while since.elapsed() < patience {
            if let Some(status) = self.0.try_wait().map_err(Failure::io("wait"))? {
                return Ok(Some(status));
            }
            interrupt.check()?;
            thread::sleep(LOOK);
        }
        Ok(None)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(words: &str, patience: Duration, stop: bool) -> Result<String, Failure> {
        let arguments = ["-c", words].map(str::to_owned);
        run(
            Path::new("/bin/sh"),
            &arguments,
            patience,
            &Interrupt::given(stop),
        )
    }

    #[test]
    fn both_outputs_are_returned() {
        let words = shell("echo one; echo two >&2", PATIENCE, false).unwrap();
        assert_eq!(words, "one\ntwo\n");
    }

    #[test]
    fn a_failure_comes_with_the_program_s_words() {
        let Err(Failure::Command(command, words)) = shell("echo why; exit 3", PATIENCE, false)
        else {
            panic!("it failed");
        };
        assert!(command.starts_with("/bin/sh -c"), "{command}");
        assert!(words.contains("3\nwhy"), "{words}");
    }

    #[test]
    fn one_that_is_not_there_is_said() {
        let nowhere = Path::new("/nonexistent/program");
        let outcome = run(nowhere, &[], PATIENCE, &Interrupt::given(false));
        assert!(matches!(outcome, Err(Failure::Command(..))));
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let since = Instant::now();
        let outcome = shell("exec sleep 600", Duration::from_millis(50), false);
        assert!(matches!(outcome, Err(Failure::Command(..))));
        assert!(since.elapsed() < PATIENCE);
    }

    #[test]
    fn the_user_does_not_wait_for_it() {
        let since = Instant::now();
        let outcome = shell("exec sleep 600", Duration::from_secs(600), true);
        assert!(matches!(outcome, Err(Failure::Interrupted)));
        assert!(since.elapsed() < PATIENCE);
    }

    #[test]
    fn it_inherits_neither_core_nor_policy() {
        // The 41st word of `stat` is the policy: 0 is the ordinary one.
        let look = "cut -d ' ' -f 41 /proc/self/stat; grep Cpus_allowed_list /proc/self/status";
        let ordinary = shell(look, PATIENCE, false).unwrap();
        let placed = Placement::hold(None, |_| shell(look, PATIENCE, false)).unwrap();
        assert!(ordinary.starts_with("0\n"), "{ordinary}");
        assert_eq!(placed, ordinary);
    }
}
