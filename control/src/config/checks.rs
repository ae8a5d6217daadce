//! From the file as written to the checked configuration: one function per table.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use zeroize::Zeroizing;

use super::file::{self, Legacy};
use super::psk::{MIN_BITS, MIN_CHARACTERS, Strength};
use super::{
    AuthMethod, Config, ConfigError, L2tp, Limits, Listener, Peer, Ppp, Process, Psk, Range,
    STATUS_SOCKET, Secret, Source, Worker,
};

/// Longest name of a network device (IFNAMSIZ without the final zero).
const MAX_INTERFACE_NAME: usize = 15;
/// RFC 2661 §6.5: a Hello after 60 seconds of silence.
const HELLO_SECONDS: u16 = 60;
const MRU: u16 = 1_400;
const UNKNOWN_SESSION_SECONDS: u32 = 300;
const LIMITS: Limits = Limits {
    sets: 16_384,
    sessions: 16_384,
    shards: 64,
    frames: 16_384,
};
/// Most packet cores; a core is counted in one byte.
const MAX_WORKERS: usize = 64;

pub(super) fn check(source: &Source<'_>, file: &mut file::File) -> Result<Config, ConfigError> {
    let addresses = addresses(source, file)?;
    let ppp = ppp(source, &file.ppp)?;
    let workers = workers(source, &file.workers)?;
    Ok(Config {
        outer: interface(source, &file.outer.interface)?,
        core: core(source, file)?,
        listeners: listeners(source, file, &addresses)?,
        allow_weak_psk: weak_psk_reason(source, file)?,
        psks: psks(source, file)?,
        l2tp: l2tp(source, &mut file.l2tp)?,
        pools: pools(source, &file.pool)?,
        users: source.beside(file.users.file.get_ref()),
        limits: limits(source, &file.limits, workers.len())?,
        workers,
        process: process(source, &file.process),
        addresses,
        ppp,
    })
}

fn addresses(
    source: &Source<'_>,
    file: &file::File,
) -> Result<Vec<std::net::Ipv4Addr>, ConfigError> {
    let Some(addresses) = &file.outer.addresses else {
        return Ok(Vec::new());
    };
    let list = addresses.get_ref();
    if list.is_empty() {
        return Err(source.mistake(
            addresses.span(),
            "no address; leave `addresses` out to serve all of the interface",
        ));
    }
    if let Some(address) = list
        .iter()
        .find(|&&address| !file::is_host(IpAddr::V4(address)))
    {
        return Err(source.mistake(
            addresses.span(),
            format!("{address} cannot be an address of ours"),
        ));
    }
    Ok(list.clone())
}

fn interface(source: &Source<'_>, name: &Spanned<String>) -> Result<String, ConfigError> {
    let text = name.get_ref();
    if text.is_empty() || text.len() > MAX_INTERFACE_NAME || text.contains(['/', ' ']) {
        let message = format!("`{text}` is no name of a network interface (`ip link` lists them)");
        return Err(source.mistake(name.span(), message));
    }
    Ok(text.clone())
}

fn core(source: &Source<'_>, file: &file::File) -> Result<Option<String>, ConfigError> {
    let Some(name) = &file.core.interface else {
        return Ok(None);
    };
    if name.get_ref() == file.outer.interface.get_ref() {
        return Err(source.mistake(
            name.span(),
            "the core interface must be another than the outer one; leave it out for a veth pair",
        ));
    }
    interface(source, name).map(Some)
}

fn workers(source: &Source<'_>, workers: &file::Workers) -> Result<Vec<Worker>, ConfigError> {
    let count = match (&workers.cpus, &workers.queues) {
        (Some(cpus), Some(queues)) if cpus.get_ref().len() != queues.get_ref().len() => {
            return Err(source.mistake(
                queues.span(),
                "`cpus` and `queues` must be of the same length: one worker each",
            ));
        }
        (Some(cpus), _) => distinct(source, cpus, "CPU")?,
        (None, Some(queues)) => distinct(source, queues, "queue")?,
        (None, None) => 1,
    };
    if let Some(queues) = &workers.queues {
        distinct(source, queues, "queue")?;
    }
    (0..count)
        .map(|index| {
            let cpu = workers
                .cpus
                .as_ref()
                .and_then(|cpus| cpus.get_ref().get(index).copied());
            let queue = workers
                .queues
                .as_ref()
                .and_then(|queues| queues.get_ref().get(index).copied());
            let queue = queue.unwrap_or_else(|| u32::try_from(index).unwrap_or(u32::MAX));
            Ok(Worker { cpu, queue })
        })
        .collect()
}

fn distinct<T: Ord + Copy + std::fmt::Display>(
    source: &Source<'_>,
    list: &Spanned<Vec<T>>,
    what: &str,
) -> Result<usize, ConfigError> {
    let mut sorted = list.get_ref().clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(source.mistake(list.span(), format!("{what} {} is named twice", pair[0])));
    }
    if sorted.is_empty() || sorted.len() > MAX_WORKERS {
        return Err(source.mistake(
            list.span(),
            format!("1 to {MAX_WORKERS} entries are needed"),
        ));
    }
    Ok(sorted.len())
}

fn listeners(
    source: &Source<'_>,
    file: &file::File,
    addresses: &[std::net::Ipv4Addr],
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for listen in &file.listen {
        let address = listen.address.as_ref().map(|address| *address.get_ref());
        let span = listen.address.as_ref().map_or(0..0, Spanned::span);
        if address.is_some_and(|address| !addresses.is_empty() && !addresses.contains(&address)) {
            return Err(source.mistake(span, "is not among the outer addresses"));
        }
        if listeners.iter().any(|earlier| earlier.address == address) {
            let message = "a second [[listen]] for the same address; put all options into one";
            return Err(source.mistake(span, message));
        }
        listeners.push(Listener {
            address,
            modp1024: listen.legacy.contains(&Legacy::Modp1024),
            modp1536: listen.legacy.contains(&Legacy::Modp1536),
            triple_des: listen.legacy.contains(&Legacy::TripleDes),
            clear_l2tp: listen.allow_clear_l2tp,
        });
    }
    Ok(listeners)
}

fn weak_psk_reason(source: &Source<'_>, file: &file::File) -> Result<Option<String>, ConfigError> {
    let Some(reason) = &file.ike.get_ref().allow_weak_psk else {
        return Ok(None);
    };
    if reason.get_ref().trim().is_empty() {
        return Err(source.mistake(
            reason.span(),
            "name the reason, such as allow_weak_psk = \"devices in the field until March\"",
        ));
    }
    Ok(Some(reason.get_ref().clone()))
}

fn psks(source: &Source<'_>, file: &mut file::File) -> Result<Vec<Psk>, ConfigError> {
    let ike = file.ike.get_mut();
    let allow_weak = ike.allow_weak_psk.is_some();
    let whole = ike.psk.span();
    let mut psks: Vec<Psk> = Vec::new();
    for entry in ike.psk.get_mut() {
        let span = entry.peer.span();
        let peer: Peer = entry.peer.get_ref().parse().map_err(|()| {
            source.mistake(
                span.clone(),
                "a peer is \"any\", an address (\"203.0.113.7\") or a network (\"203.0.113.0/24\", host bits zero)",
            )
        })?;
        if psks.iter().any(|earlier| earlier.peer == peer) {
            return Err(source.mistake(span, "a second key for the same peer"));
        }
        let (secret, span) = secret(source, &mut entry.secret, entry.secret_file.as_ref(), span)?;
        let strength = Strength::of(secret.expose());
        if secret.expose().is_empty() || (strength.is_weak() && !allow_weak) {
            return Err(source.mistake(span, weak_psk_message(strength)));
        }
        psks.push(Psk { peer, secret });
    }
    if psks.is_empty() {
        return Err(source.mistake(
            whole,
            "no pre-shared key; add [[ike.psk]] with peer and secret",
        ));
    }
    psks.sort_by_key(|psk| specificity(psk.peer));
    Ok(psks)
}

/// Sorts narrower peers before wider ones.
fn specificity(peer: Peer) -> (u8, u8, Peer) {
    match peer {
        Peer::Address(_) => (0, 0, peer),
        Peer::Network(_, bits) => (1, u8::MAX - bits, peer),
        Peer::Any => (2, 0, peer),
    }
}

fn weak_psk_message(strength: Strength) -> String {
    format!(
        "weak pre-shared key: {} characters, about {} bits; at least {MIN_CHARACTERS} characters and {MIN_BITS} bits are needed, as from: \
         openssl rand -base64 24   (or accept it with [ike] allow_weak_psk = \"reason\")",
        strength.characters, strength.bits
    )
}

/// The secret given inline or by file, exactly one of the two, and its place.
fn secret(
    source: &Source<'_>,
    inline: &mut Option<Spanned<Zeroizing<String>>>,
    file: Option<&Spanned<PathBuf>>,
    place: std::ops::Range<usize>,
) -> Result<(Secret, std::ops::Range<usize>), ConfigError> {
    match (inline.take(), file) {
        (Some(inline), None) => {
            let span = inline.span();
            Ok((Secret::new(inline.into_inner()), span))
        }
        (None, Some(file)) => Ok((source.read_secret(file.get_ref())?, file.span())),
        (Some(_), Some(file)) => Err(source.mistake(
            file.span(),
            "give either `secret` or `secret_file`, not both",
        )),
        (None, None) => Err(source.mistake(place, "needs `secret` or `secret_file`")),
    }
}

fn l2tp(source: &Source<'_>, l2tp: &mut file::L2tp) -> Result<L2tp, ConfigError> {
    let given = l2tp.secret.is_some() || l2tp.secret_file.is_some();
    let secret = if given {
        let (secret, span) = secret(source, &mut l2tp.secret, l2tp.secret_file.as_ref(), 0..0)?;
        if secret.expose().is_empty() {
            return Err(source.mistake(span, "an empty secret; leave it out to ask for none"));
        }
        Some(secret)
    } else {
        None
    };
    let hello = l2tp.hello_seconds.as_ref();
    let hello = within(source, hello, HELLO_SECONDS, 5..=3_600)?;
    Ok(L2tp {
        secret,
        hello: Duration::from_secs(u64::from(hello)),
    })
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    source: &Source<'_>,
    value: Option<&Spanned<T>>,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    let Some(value) = value else {
        return Ok(default);
    };
    if range.contains(value.get_ref()) {
        return Ok(*value.get_ref());
    }
    let (low, high) = (range.start(), range.end());
    let message = format!("{} is out of range: {low} to {high}", value.get_ref());
    Err(source.mistake(value.span(), message))
}

fn ppp(source: &Source<'_>, ppp: &file::Ppp) -> Result<Ppp, ConfigError> {
    let methods = match &ppp.methods {
        None => vec![AuthMethod::MsChapV2],
        Some(methods) => {
            let list = methods.get_ref();
            if list.is_empty() {
                let message =
                    "no method: nobody could log in; write for example [\"mschapv2\", \"pap\"]";
                return Err(source.mistake(methods.span(), message));
            }
            if (1..list.len()).any(|at| list[..at].contains(&list[at])) {
                return Err(source.mistake(methods.span(), "a method is named twice"));
            }
            list.clone()
        }
    };
    if !file::is_host(IpAddr::V4(*ppp.gateway.get_ref())) {
        return Err(source.mistake(ppp.gateway.span(), "cannot be an address of ours"));
    }
    let dns = match &ppp.dns {
        None => Vec::new(),
        Some(dns) if dns.get_ref().len() > 2 => {
            let message = "PPP tells a client two name servers at most (RFC 1877)";
            return Err(source.mistake(dns.span(), message));
        }
        Some(dns) => dns.get_ref().clone(),
    };
    Ok(Ppp {
        methods,
        mru: within(source, ppp.mru.as_ref(), MRU, 576..=1_500)?,
        dns,
        gateway: *ppp.gateway.get_ref(),
    })
}

fn pools(source: &Source<'_>, pools: &Spanned<Vec<file::Pool>>) -> Result<Vec<Range>, ConfigError> {
    let mut ranges: Vec<Range> = Vec::new();
    for pool in pools.get_ref() {
        let span = pool.addresses.span();
        let range: Range = pool.addresses.get_ref().parse().map_err(|()| {
            source.mistake(
                span.clone(),
                "a pool is \"10.0.0.10-10.0.0.200\" or \"10.0.0.0/24\" (8 to 32 bits, host bits zero)",
            )
        })?;
        if let Some(other) = ranges.iter().find(|other| other.overlaps(range)) {
            let message = format!("overlaps the pool {other}: an address would be given out twice");
            return Err(source.mistake(span, message));
        }
        ranges.push(range);
    }
    if ranges.is_empty() {
        let message = "no pool; add [[pool]] with addresses = \"10.0.0.0/24\"";
        return Err(source.mistake(pools.span(), message));
    }
    Ok(ranges)
}

fn limits(
    source: &Source<'_>,
    limits: &file::Limits,
    workers: usize,
) -> Result<Limits, ConfigError> {
    let fewest_shards = u16::try_from(workers).unwrap_or(u16::MAX);
    Ok(Limits {
        sets: within(source, limits.sets.as_ref(), LIMITS.sets, 1..=1_048_576)?,
        sessions: within(
            source,
            limits.sessions.as_ref(),
            LIMITS.sessions,
            1..=1_048_576,
        )?,
        shards: within(
            source,
            limits.shards.as_ref(),
            LIMITS.shards,
            fewest_shards..=1_024,
        )?,
        frames: within(
            source,
            limits.frames.as_ref(),
            LIMITS.frames,
            1_024..=1_048_576,
        )?,
    })
}

fn process(source: &Source<'_>, process: &file::Process) -> Process {
    let seconds = process.unknown_session_seconds;
    Process {
        user: process.user.clone().unwrap_or_else(|| "nobody".to_owned()),
        status_socket: process
            .status_socket
            .as_ref()
            .map_or_else(|| PathBuf::from(STATUS_SOCKET), |path| source.beside(path)),
        unknown_session: Duration::from_secs(u64::from(seconds.unwrap_or(UNKNOWN_SESSION_SECONDS))),
    }
}
