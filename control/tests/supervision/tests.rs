//! What the supervisor promises.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::rig::{self, NOBODY, Rig, gauge, pid};
use crate::twins;

/// Runs the tests whose name contains `filter`.
pub(crate) fn run(filter: &str) -> ExitCode {
    let tests: [(&str, fn()); 9] = [
        (
            "it_says_ready_when_both_planes_answer",
            it_says_ready_when_both_planes_answer,
        ),
        (
            "a_new_data_plane_is_given_everything_again",
            a_new_data_plane_is_given_everything_again,
        ),
        (
            "a_new_control_leaves_the_data_plane_alone",
            a_new_control_leaves_the_data_plane_alone,
        ),
        ("a_hung_control_is_replaced", a_hung_control_is_replaced),
        (
            "peers_are_told_before_it_stops",
            peers_are_told_before_it_stops,
        ),
        (
            "children_die_with_the_supervisor",
            children_die_with_the_supervisor,
        ),
        (
            "a_plane_that_cannot_begin_ends_it_with_its_words",
            a_plane_that_cannot_begin_ends_it_with_its_words,
        ),
        (
            "children_have_no_privileges_to_lose",
            children_have_no_privileges_to_lose,
        ),
        ("others_get_no_status", others_get_no_status),
    ];
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(filter)) {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn it_says_ready_when_both_planes_answer() {
    let mut rig = Rig::serving();
    let status = rig.until_status(|status| gauge(status, "rows") == Some(3));
    assert_eq!(status["dataplane"]["process"]["state"], "serving");
    assert_eq!(status["control"]["process"]["state"], "serving");
    assert_eq!(status["control"]["process"]["restarts"], 0);
    rig.forget_told();
    rig.until_told("WATCHDOG=1");
    rig.terminate();
    assert!(rig.end().0.success());
}

fn a_new_data_plane_is_given_everything_again() {
    let rig = Rig::serving();
    let before = rig.until_status(|status| gauge(status, "rows") == Some(3));
    assert_eq!(gauge(&before, "continued"), Some(0));
    let killed = Instant::now();
    rig::signal(pid(&before, "dataplane"), Signal::KILL);
    let after = rig.until_status(|status| {
        gauge(status, "rows") == Some(3) && gauge(status, "continued") == Some(1)
    });
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(after["dataplane"]["process"]["restarts"], 1);
    assert_eq!(pid(&after, "control"), pid(&before, "control"));
    rig.terminate();
    assert!(rig.end().0.success());
}

fn a_new_control_leaves_the_data_plane_alone() {
    let rig = Rig::serving();
    let before = rig.until_status(|status| gauge(status, "rows") == Some(3));
    let killed = Instant::now();
    rig::signal(pid(&before, "control"), Signal::KILL);
    let after = rig.until_status(|status| status["control"]["status"]["reserved"] == 1);
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(pid(&after, "dataplane"), pid(&before, "dataplane"));
    assert_eq!(gauge(&after, "rows"), Some(3));
    rig.terminate();
    assert!(rig.end().0.success());
}

fn a_hung_control_is_replaced() {
    let rig = Rig::serving();
    let before = rig.until_status(|status| gauge(status, "rows") == Some(3));
    rig::signal(pid(&before, "control"), Signal::STOP);
    rig::until_gone(pid(&before, "control"));
    rig.until_status(|status| status["control"]["status"]["reserved"] == 1);
    rig.terminate();
    assert!(rig.end().0.success());
}

fn peers_are_told_before_it_stops() {
    let mut rig = Rig::serving();
    let status = rig.until_status(|status| gauge(status, "rows") == Some(3));
    let children = [pid(&status, "dataplane"), pid(&status, "control")];
    rig.terminate();
    rig.until_told("STOPPING=1");
    let socket = rig.socket();
    let commands = {
        rig::until_gone(rig.pid());
        rig.commands()
    };
    let (status, logs, _dir) = rig.end();
    assert!(status.success(), "{logs}");
    assert_eq!(
        commands[commands.len() - 3..],
        ["Transmit", "CloseSet", "Stopped"]
    );
    assert!(children.into_iter().all(|child| !rig::is_alive(child)));
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
}

fn children_die_with_the_supervisor() {
    let mut rig = Rig::serving();
    let status = rig.status();
    let children = [pid(&status, "dataplane"), pid(&status, "control")];
    // Even one that does not see the end of its lifeline.
    rig::signal(children[1], Signal::STOP);
    rig.kill();
    children.into_iter().for_each(rig::until_gone);
}

fn a_plane_that_cannot_begin_ends_it_with_its_words() {
    let rig = Rig::start(Some(twins::MISSING));
    let (status, logs, _dir) = rig.end();
    assert_eq!(status.code(), Some(2), "{logs}");
    assert!(logs.contains("no device"), "{logs}");
}

fn children_have_no_privileges_to_lose() {
    let rig = Rig::serving();
    let status = rig.status();
    let control = pid(&status, "control");
    for child in [control, pid(&status, "dataplane")] {
        assert_eq!(rig::proc_status(child, "NoNewPrivs"), "1");
        let limits = std::fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // Of a process that leaves no dump these belong to root, whoever it runs as.
        let owner = std::os::unix::fs::MetadataExt::uid(
            &std::fs::metadata(format!("/proc/{child}/environ")).unwrap(),
        );
        assert_eq!(owner, 0);
    }
    if rustix::process::geteuid().is_root() {
        let all = format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}");
        assert_eq!(rig::proc_status(control, "Uid"), all);
        assert_eq!(rig::proc_status(control, "Gid"), all);
        assert_eq!(rig::proc_status(control, "Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(rig::proc_status(control, set), "0000000000000000", "{set}");
        }
    } else {
        eprintln!("skipped: changing the user needs root");
    }
    rig.terminate();
    assert!(rig.end().0.success());
}

fn others_get_no_status() {
    let rig = Rig::serving();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(rig.socket()).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    match rig::lets_nobody_in(&rig.socket()) {
        Some(is_let_in) => assert!(!is_let_in),
        None => eprintln!("skipped: becoming another user needs root"),
    }
    rig.terminate();
    assert!(rig.end().0.success());
}
