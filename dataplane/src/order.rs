//! Carries out the orders of the IPC thread: changes of rows, and packets of control's own.

use std::net::{SocketAddr, SocketAddrV4};

use culvert_wire::eth::MacAddress;

use crate::api::{
    Activation, Command, Encapsulation, InboundSpec, OutboundSpec, Phase, Refusal, SessionRow,
    SessionSpec, SetId, SetSpec, Spi, Start, spi,
};
use crate::link::{Keys, Retired};
use crate::mem::continuity::WINDOW_RANGE;
use crate::moment::Moment;
use crate::table::Rows;
use crate::table::sa::{InboundSa, OutboundSa, SaRow, Told};
use crate::table::set::Set;

mod transmit;

pub use transmit::transmit;

/// Our UDP port inside an SA (RFC 3193 §4).
const L2TP_PORT: u16 = 1_701;
/// The smallest MRU that a session may have: what every IPv4 link carries (RFC 791 §3.2).
const MIN_MRU: u16 = 68;
/// SPIs below this are reserved (RFC 4303 §2.1).
const FIRST_SPI: u32 = 256;
/// Where the inner IP header most likely stands in a first packet: after UDP, L2TP with length field, and PPP uncompressed.
const FIRST_PLACE: u8 = 8 + 8 + 4;

/// Carries out a command other than `Transmit` and `Inventory`; keys that it displaces go to `retired`, and new ones stay in `keys` if it
/// is refused.
///
/// # Errors
/// A [`Refusal`]; then nothing is changed.
pub fn apply(
    command: &Command,
    next_hop: Option<MacAddress>,
    keys: &mut Option<Keys>,
    rows: &mut Rows,
    retired: &mut Retired,
) -> Result<(), Refusal> {
    match command {
        Command::OpenSet(spec) => open_set(spec, next_hop, rows, retired),
        Command::CloseSet(set) => close_set(*set, rows, retired),
        Command::AddInbound(spec) => add_inbound(spec, keys, rows, retired),
        Command::AddOutbound(spec) => add_outbound(spec, keys, rows, retired),
        Command::UseOutbound { set, spi } => {
            let row = find_outbound(*set, *spi, rows)?;
            rows.activate(*set, Some(row));
            Ok(())
        }
        Command::RemoveInbound(spi) => remove_inbound(*spi, rows, retired),
        Command::RemoveOutbound { set, spi } => remove_outbound(*set, *spi, rows, retired),
        Command::OpenSession(spec) => open_session(spec, rows),
        Command::CloseSession(row) => close_session(*row, rows),
        Command::Transmit(_) | Command::Inventory => Err(Refusal::Invalid),
    }
}

fn open_set(
    spec: &SetSpec,
    next_hop: Option<MacAddress>,
    rows: &mut Rows,
    retired: &mut Retired,
) -> Result<(), Refusal> {
    if !rows.sets.has_row(spec.id) {
        return Err(Refusal::NoSuchRow);
    }
    let (local, remote) = (v4(spec.local)?, v4(spec.remote)?);
    let is_portless = spec.encapsulation == Encapsulation::Esp;
    if remote.ip().is_unspecified() || (remote.port() == 0 && !is_portless) {
        return Err(Refusal::Invalid);
    }
    if rows.sets.find(spec.id).is_some() {
        close_set(spec.id, rows, retired)?;
    }
    let mut set = Set::new(local, remote, spec.encapsulation);
    set.measure(rows.here.outer_mtu, None);
    if let Some(next_hop) = next_hop {
        set.send_via(next_hop, &rows.here);
    }
    rows.sets.open(spec.id, set);
    Ok(())
}

const fn v4(address: SocketAddr) -> Result<SocketAddrV4, Refusal> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(Refusal::Invalid),
    }
}

fn close_set(id: SetId, rows: &mut Rows, retired: &mut Retired) -> Result<(), Refusal> {
    let set = rows.sets.find(id).ok_or(Refusal::Absent)?;
    let (inbound, outbound) = (set.inbound, set.outbound);
    while let Some(session) = rows.sets.find(id).and_then(|set| set.sessions) {
        close_session(session, rows)?;
    }
    for row in inbound.into_iter().flatten() {
        clear_inbound(row, rows, retired);
    }
    for row in outbound.into_iter().flatten() {
        clear_outbound(row, rows, retired);
    }
    rows.sets.close(id);
    Ok(())
}

fn add_inbound(
    spec: &InboundSpec,
    keys: &mut Option<Keys>,
    rows: &mut Rows,
    retired: &mut Retired,
) -> Result<(), Refusal> {
    let row = rows.sas.row(spec.spi).ok_or(Refusal::NoSuchRow)?;
    let width = spec.replay_window;
    let is_legal = WINDOW_RANGE.contains(&width)
        && width.is_power_of_two()
        && width <= rows.continuity.window_bits();
    if spec.spi.0 < FIRST_SPI || !is_legal {
        return Err(Refusal::Invalid);
    }
    if !matches!(keys, Some(Keys::Inbound(_))) {
        return Err(Refusal::Invalid);
    }
    let is_taken = rows
        .sas
        .inbound(row)
        .is_some_and(|sa| sa.spi != spec.spi || sa.set != spec.set);
    if is_taken || (rows.sas.inbound(row).is_none() && rows.sas.outbound(row).is_some()) {
        return Err(Refusal::Exhausted);
    }
    let set = rows.sets.find(spec.set).ok_or(Refusal::Absent)?;
    if !set.inbound.contains(&Some(row)) && !set.inbound.contains(&None) {
        return Err(Refusal::Exhausted);
    }
    let has_twin = rows.sas.outbound(row).is_some();
    begin_window(spec, has_twin, rows)?;
    let Some(Keys::Inbound(context)) = keys.take() else {
        return Err(Refusal::Invalid);
    };
    let sa = InboundSa {
        spi: spec.spi,
        set: spec.set,
        context,
        last_used: Moment::START,
        packets: 0,
        bytes: 0,
        session: SessionRow(0),
        window_words: width / 64,
        place: FIRST_PLACE,
        is_used: false,
    };
    if let Some(old) = rows.sas.put_inbound(row, Some(sa)) {
        retire(Keys::Inbound(old.context), retired);
    } else if let Some(set) = rows.sets.find_mut(spec.set) {
        enter(&mut set.inbound, row);
    }
    Ok(())
}

/// A living twin keeps its sequence number whatever happens to the window.
fn begin_window(spec: &InboundSpec, has_twin: bool, rows: &mut Rows) -> Result<(), Refusal> {
    let mut slot = rows
        .continuity
        .slot(spi::index(spec.spi))
        .ok_or(Refusal::NoSuchRow)?;
    match spec.start {
        Start::Fresh if has_twin => {
            *slot.inbound = spec.spi.0;
            *slot.window_top = 0;
            slot.window.fill(0);
        }
        Start::Fresh => {
            slot.clear();
            *slot.inbound = spec.spi.0;
        }
        Start::Continued if *slot.inbound != spec.spi.0 => return Err(Refusal::NotContinued),
        Start::Continued => {}
    }
    Ok(())
}

fn add_outbound(
    spec: &OutboundSpec,
    keys: &mut Option<Keys>,
    rows: &mut Rows,
    retired: &mut Retired,
) -> Result<(), Refusal> {
    let row = rows.sas.find(spec.twin).ok_or(Refusal::Absent)?;
    let twin = rows
        .sas
        .inbound(row)
        .filter(|sa| sa.set == spec.set)
        .ok_or(Refusal::Absent)?;
    let is_used = twin.is_used;
    if !matches!(keys, Some(Keys::Outbound(_))) {
        return Err(Refusal::Invalid);
    }
    if spec.spi.0 < FIRST_SPI {
        return Err(Refusal::Invalid);
    }
    if rows.sas.outbound(row).is_some_and(|sa| sa.spi != spec.spi) {
        return Err(Refusal::Exhausted);
    }
    let set = rows.sets.find_mut(spec.set).ok_or(Refusal::Absent)?;
    if !set.outbound.contains(&Some(row)) && !set.outbound.contains(&None) {
        return Err(Refusal::Exhausted);
    }
    begin_numbers(spec, rows)?;
    let Some(Keys::Outbound(context)) = keys.take() else {
        return Err(Refusal::Invalid);
    };
    let set = rows.sets.find_mut(spec.set).ok_or(Refusal::Absent)?;
    set.installed += 1;
    let sa = OutboundSa {
        spi: spec.spi,
        set: spec.set,
        context,
        slot: spi::index(spec.twin),
        age: set.installed,
        packets: 0,
        bytes: 0,
        told: Told::Nothing,
    };
    if let Some(old) = rows.sas.put_outbound(row, Some(sa)) {
        retire(Keys::Outbound(old.context), retired);
    } else {
        enter(&mut set.outbound, row);
    }
    let is_alone = set.current.is_none_or(|current| current == row);
    if spec.activation == Activation::Now || is_used || is_alone {
        rows.activate(spec.set, Some(row));
    }
    Ok(())
}

fn begin_numbers(spec: &OutboundSpec, rows: &mut Rows) -> Result<(), Refusal> {
    let slot = rows
        .continuity
        .find(spec.twin)
        .ok_or(Refusal::NotContinued)?;
    match spec.start {
        Start::Fresh => {
            *slot.outbound = spec.spi.0;
            *slot.next_outbound = 1;
        }
        Start::Continued if *slot.outbound != spec.spi.0 || *slot.next_outbound == 0 => {
            return Err(Refusal::NotContinued);
        }
        Start::Continued => {}
    }
    Ok(())
}

fn find_outbound(set: SetId, spi: Spi, rows: &Rows) -> Result<SaRow, Refusal> {
    let set = rows.sets.find(set).ok_or(Refusal::Absent)?;
    let has_spi = |row: &SaRow| rows.sas.outbound(*row).is_some_and(|sa| sa.spi == spi);
    set.outbound
        .into_iter()
        .flatten()
        .find(has_spi)
        .ok_or(Refusal::Absent)
}

fn remove_inbound(spi: Spi, rows: &mut Rows, retired: &mut Retired) -> Result<(), Refusal> {
    let row = rows.sas.find(spi).ok_or(Refusal::Absent)?;
    let set = rows.sas.inbound(row).ok_or(Refusal::Absent)?.set;
    clear_inbound(row, rows, retired);
    if let Some(set) = rows.sets.find_mut(set) {
        leave(&mut set.inbound, row);
    }
    Ok(())
}

fn remove_outbound(
    id: SetId,
    spi: Spi,
    rows: &mut Rows,
    retired: &mut Retired,
) -> Result<(), Refusal> {
    let row = find_outbound(id, spi, rows)?;
    clear_outbound(row, rows, retired);
    let set = rows.sets.find_mut(id).ok_or(Refusal::Absent)?;
    leave(&mut set.outbound, row);
    if set.current == Some(row) {
        let age = |row: &SaRow| rows.sas.outbound(*row).map(|sa| sa.age);
        let newest = set.outbound.into_iter().flatten().max_by_key(age);
        rows.activate(id, newest);
    }
    Ok(())
}

/// Empties the inbound half of a row; the slot keeps the outbound half's number.
fn clear_inbound(row: SaRow, rows: &mut Rows, retired: &mut Retired) {
    let Some(sa) = rows.sas.put_inbound(row, None) else {
        return;
    };
    let has_twin = rows.sas.outbound(row).is_some();
    if let Some(mut slot) = rows.continuity.slot(spi::index(sa.spi)) {
        if has_twin {
            *slot.inbound = 0;
        } else {
            slot.clear();
        }
    }
    retire(Keys::Inbound(sa.context), retired);
}

/// Empties the outbound half of a row.
fn clear_outbound(row: SaRow, rows: &mut Rows, retired: &mut Retired) {
    let Some(sa) = rows.sas.put_outbound(row, None) else {
        return;
    };
    if let Some(slot) = rows.continuity.slot(sa.slot) {
        *slot.outbound = 0;
        *slot.next_outbound = 0;
    }
    retire(Keys::Outbound(sa.context), retired);
}

/// There is room for all keys of a set; if there were not, they would be wiped here.
fn retire(keys: Keys, retired: &mut Retired) {
    drop(retired.try_push(keys));
}

fn enter(rows: &mut [Option<SaRow>], row: SaRow) {
    if let Some(place) = rows.iter_mut().find(|place| place.is_none()) {
        *place = Some(row);
    }
}

fn leave(rows: &mut [Option<SaRow>], row: SaRow) {
    for place in rows.iter_mut().filter(|place| **place == Some(row)) {
        *place = None;
    }
}

fn open_session(spec: &SessionSpec, rows: &mut Rows) -> Result<(), Refusal> {
    if !rows.sessions.has_row(spec.row) {
        return Err(Refusal::NoSuchRow);
    }
    if rows.sets.find(spec.set).is_none() {
        return Err(Refusal::Absent);
    }
    if !is_legal(spec, rows) {
        return Err(Refusal::Invalid);
    }
    let numbered = rows
        .sessions
        .find(spec.row)
        .filter(|old| old.set == spec.set && old.peer_session == spec.peer_session);
    let next_sequence = numbered.map_or(0, |old| old.next_sequence);
    if rows.sessions.find(spec.row).is_some() {
        close_session(spec.row, rows)?;
    }
    let set = rows.sets.find_mut(spec.set).ok_or(Refusal::Absent)?;
    rows.sessions
        .open(spec, set.sessions)
        .map_err(|_| Refusal::Exhausted)?;
    announce(spec, rows)?;
    let set = rows.sets.find_mut(spec.set).ok_or(Refusal::Absent)?;
    set.sessions = Some(spec.row);
    if let Some(session) = rows.sessions.find_mut(spec.row) {
        session.next_sequence = next_sequence;
    }
    Ok(())
}

/// Tells the other cores where the session's address is.
fn announce(spec: &SessionSpec, rows: &mut Rows) -> Result<(), Refusal> {
    let Phase::Open { address, .. } = spec.phase else {
        return Ok(());
    };
    let whereabouts = &rows.whereabouts;
    if whereabouts.is_alone()
        || whereabouts
            .directory
            .insert(address, whereabouts.core())
            .is_ok()
    {
        return Ok(());
    }
    rows.sessions.close(spec.row);
    Err(Refusal::Exhausted)
}

/// Ids are not zero and not another session's; so is the address.
fn is_legal(spec: &SessionSpec, rows: &Rows) -> bool {
    let is_free = |found: Option<SessionRow>| found.is_none_or(|row| row == spec.row);
    let ids_free = is_free(
        rows.sessions
            .find_ids(spec.set, spec.local_tunnel, spec.local_session),
    );
    let has_ids = ![
        spec.local_tunnel.0,
        spec.local_session.0,
        spec.peer_tunnel.0,
        spec.peer_session.0,
    ]
    .contains(&0);
    let may_open = match spec.phase {
        Phase::Negotiating => true,
        Phase::Open { address, mru } => {
            let is_host = !address.is_unspecified()
                && address != rows.here.gateway
                && address.octets()[0] < 224;
            is_host && mru >= MIN_MRU && is_free(rows.sessions.route(address))
        }
    };
    spec.local_port == L2TP_PORT && spec.remote_port != 0 && ids_free && has_ids && may_open
}

fn close_session(row: SessionRow, rows: &mut Rows) -> Result<(), Refusal> {
    let session = rows.sessions.close(row).ok_or(Refusal::Absent)?;
    if let Some(address) = session.address {
        let whereabouts = &rows.whereabouts;
        whereabouts.directory.remove(address, whereabouts.core());
    }
    if let Some(set) = rows
        .sets
        .find_mut(session.set)
        .filter(|set| set.sessions == Some(row))
    {
        set.sessions = session.next;
    }
    Ok(())
}
