//! What a process gives up before it reads the first byte from outside.
//!
//! All of it is inherited by threads made later, so it comes before the first thread: identity and capabilities belong to a thread.

use std::ffi::CStr;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
pub use rustix::process::{Gid, Uid};
pub use rustix::thread::CapabilitySet as Capabilities;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Dies with its parent, leaves no core dump, is no target for ptrace, and gains nothing from set-user-id files.
///
/// # Errors
/// What the system says.
pub fn harden(name: &CStr) -> io::Result<()> {
    rustix::thread::set_name(name)?;
    rustix::thread::set_no_new_privs(true)?;
    leave_no_traces()?;
    // A change of user clears it, so this comes last.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Leaves no core dump and is no target for ptrace: other processes of the same user cannot read its memory.
///
/// # Errors
/// What the system says.
pub fn leave_no_traces() -> io::Result<()> {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, nothing)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Becomes `uid` and `gid` with no other groups and, for good, no capabilities but `keep`.
///
/// # Errors
/// What the system says, such as the lack of the privilege to change.
pub fn become_user(uid: Uid, gid: Gid, keep: Capabilities) -> io::Result<()> {
    drop_bounding_set(keep)?;
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    keep_capabilities(keep)
}

/// Gives up all capabilities but `keep`.
///
/// # Errors
/// What the system says.
fn keep_capabilities(keep: Capabilities) -> io::Result<()> {
    let had = rustix::thread::capabilities(None)?;
    let kept = keep & had.permitted;
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

fn drop_bounding_set(keep: Capabilities) -> io::Result<()> {
    if !rustix::thread::capabilities(None)?
        .effective
        .contains(CapabilitySet::SETPCAP)
    {
        // Whoever started us without it has bounded us already.
        return Ok(());
    }
    for capability in CapabilitySet::all().iter() {
        // Those the kernel does not know cannot be held either.
        if keep.contains(capability)
            || !rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false)
        {
            continue;
        }
        rustix::thread::remove_capability_from_bounding_set(capability)?;
    }
    Ok(())
}
