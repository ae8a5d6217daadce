//! A measurement ends when the user asks.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long an interrupted measurement may take to end; what it measures would take minutes.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn crypto_ends_on_sigterm() {
    ends("crypto", Signal::TERM);
}

#[test]
fn peers_ends_on_sigint() {
    ends("peers", Signal::INT);
}

/// Runs a suite in full and signals it in the middle.
fn ends(suite: &str, signal: Signal) {
    let mut running = Running(
        Command::new(env!("CARGO_BIN_EXE_culvert-bench"))
            .arg(suite)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut head = String::new();
    stdout.read_line(&mut head).unwrap();
    assert_eq!(head.trim_end(), suite);
    thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&running.0), signal).unwrap();
    let since = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break status;
        }
        assert!(since.elapsed() < PATIENCE, "{suite} goes on");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
    let mut words = String::new();
    let mut stderr = running.0.stderr.take().unwrap();
    stderr.read_to_string(&mut words).unwrap();
    assert!(words.ends_with("culvert-bench: interrupted\n"), "{words}");
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
