//! The kinds of values that keys take: how each is read from a word (an option, a variable) or from TOML, and shown.

mod audience;
mod log;

pub(super) use audience::ForWhom;
pub use log::LogPlace;
pub(super) use log::{Level, Lines, Log};

use super::fault::ValueFault;
use crate::name::Escaped;
use crate::network::{IPV4_FORM, ends_in_number};
use crate::node::contract::BootstrapAddr;
use bytesize::ByteSize;
use std::fmt::Display;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// Longest host name, in bytes (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Longest list of bootstrap nodes.
const BOOTSTRAPS_MAX: usize = 32;

/// How the values of one key are read and shown.
pub(super) trait Kind {
    /// The value in the configuration.
    type Value;

    /// Reads an option or an environment variable; the error says what was expected.
    fn word(text: &str) -> Result<Self::Value, String>;

    /// Reads a value of the file; most kinds stand there as strings.
    fn toml(value: &DeValue<'_>) -> Result<Self::Value, String> {
        Self::word(string(value)?)
    }

    /// As [`Kind::toml`]; for kinds with tables in them, the fault says where it stands.
    fn located(value: &DeValue<'_>) -> Result<Self::Value, ValueFault> {
        Self::toml(value).map_err(ValueFault::from)
    }

    /// The value as TOML, which reads back to the same.
    fn show(value: &Self::Value) -> String;
}

/// A value that may be absent, which is written as the empty string.
pub(super) struct Maybe<K>(PhantomData<K>);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;

    fn word(text: &str) -> Result<Self::Value, String> {
        if text.is_empty() { Ok(None) } else { K::word(text).map(Some) }
    }

    fn toml(value: &DeValue<'_>) -> Result<Self::Value, String> {
        if value.as_str() == Some("") { Ok(None) } else { K::toml(value).map(Some) }
    }

    fn show(value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| quoted(""), K::show)
    }
}

/// A whole number from `MIN` to `MAX`.
pub(super) struct Number<T, const MIN: i64, const MAX: i64>(PhantomData<T>);

impl<T: TryFrom<i64> + Display, const MIN: i64, const MAX: i64> Kind for Number<T, MIN, MAX> {
    type Value = T;

    fn word(text: &str) -> Result<T, String> {
        text.parse()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("expected a number from {MIN} to {MAX}, not {}", named(text)))
    }

    fn toml(value: &DeValue<'_>) -> Result<T, String> {
        let number = integer(value).ok_or_else(|| wrong_type("a number", value))?;
        Self::word(&number.to_string())
    }

    fn show(value: &T) -> String {
        value.to_string()
    }
}

pub(super) type Port = Number<u16, 1, 65535>;
/// A TCP port, or 0 to have one picked.
pub(super) type PortOrAny = Number<u16, 0, 65535>;

/// `true` or `false`.
pub(super) struct Truth;

impl Kind for Truth {
    type Value = bool;

    fn word(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| format!("expected true or false, not {}", named(text)))
    }

    fn toml(value: &DeValue<'_>) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| wrong_type("true or false", value))
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }
}

/// A host name or an IP literal; an IPv6 literal may stand in brackets.
pub(super) struct Host;

impl Kind for Host {
    type Value = String;

    fn word(text: &str) -> Result<String, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(ip.to_string());
        }
        if text.rsplit_once(':').is_some_and(|(host, port)| Host::word(host).is_ok() && Port::word(port).is_ok()) {
            return Err(format!(
                "expected a host name or IP address alone, not {}; its port is bootstrap_port",
                named(text)
            ));
        }
        if ends_in_number(text) {
            return Err(format!("{IPV4_FORM}, and {} is none", named(text)));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.bytes().all(fits) {
            // Upper and lower case make no difference in it (RFC 4343).
            Ok(text.to_ascii_lowercase())
        } else {
            Err(format!("expected a host name or IP address, not {}", named(text)))
        }
    }

    fn show(value: &String) -> String {
        quoted(value)
    }
}

/// A list of `host:port`; as a word separated by commas or white space.
pub(super) struct HostPorts;

impl HostPorts {
    fn one(text: &str) -> Result<BootstrapAddr, String> {
        let expected = || format!("expected \"host:port\" with a port from 1 to 65535, not {}", named(text));
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = Port::word(port).map_err(|_| expected())?;
        // A bare IPv6 literal cannot be told from a host with a port.
        if host.contains(':') && !host.starts_with('[') {
            return Err(format!("an IPv6 address with a port needs brackets: {}", named(text)));
        }
        let unfit = |message| if ends_in_number(host) { message } else { expected() };
        Ok(BootstrapAddr { host: Host::word(host).map_err(unfit)?, port })
    }

    fn all<'a>(items: impl Iterator<Item = &'a str>) -> Result<Vec<BootstrapAddr>, String> {
        let mut nodes: Vec<BootstrapAddr> = Vec::new();
        for item in items {
            let node = Self::one(item)?;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        if nodes.len() > BOOTSTRAPS_MAX {
            return Err(format!("at most {BOOTSTRAPS_MAX} bootstrap nodes, not {}", nodes.len()));
        }
        Ok(nodes)
    }
}

impl Kind for HostPorts {
    type Value = Vec<BootstrapAddr>;

    fn word(text: &str) -> Result<Self::Value, String> {
        Self::all(text.split([',', ' ', '\t']).filter(|item| !item.is_empty()))
    }

    fn toml(value: &DeValue<'_>) -> Result<Self::Value, String> {
        let list = value.as_array().ok_or_else(|| wrong_type("a list of strings", value))?;
        let items = list.iter().map(|item| string(item.get_ref())).collect::<Result<Vec<_>, _>>()?;
        Self::all(items.into_iter())
    }

    fn show(value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(|node| quoted(&host_port(node))).collect();
        format!("[{}]", items.join(", "))
    }
}

/// `host:port` as users write it.
pub(super) fn host_port(node: &BootstrapAddr) -> String {
    if node.host.contains(':') {
        format!("[{}]:{}", node.host, node.port)
    } else {
        format!("{}:{}", node.host, node.port)
    }
}

/// An IP address, or `localhost`, which needs no look-up.
pub(super) struct Ip;

impl Kind for Ip {
    type Value = IpAddr;

    fn word(text: &str) -> Result<IpAddr, String> {
        if text == "localhost" {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        text.parse()
            .map_err(|_| format!("expected an IP address as in \"192.0.2.7\" or \"2001:db8::7\", not {}", named(text)))
    }

    fn show(value: &IpAddr) -> String {
        quoted(&value.to_string())
    }
}

/// `addr:port` to listen at, or `off`.
pub(super) struct Served;

impl Kind for Served {
    type Value = Option<SocketAddr>;

    fn word(text: &str) -> Result<Self::Value, String> {
        if matches!(text, "" | "off") {
            return Ok(None);
        }
        let expected = || format!("expected \"addr:port\" as in \"0.0.0.0:21168\", or \"off\", not {}", named(text));
        text.parse().map(Some).map_err(|_| expected())
    }

    fn show(value: &Self::Value) -> String {
        quoted(&value.map_or_else(|| "off".to_owned(), |addr| addr.to_string()))
    }
}

/// `addr:port` to listen at, a port of this machine alone, or `off`.
pub(super) struct Watched;

impl Kind for Watched {
    type Value = Option<SocketAddr>;

    fn word(text: &str) -> Result<Self::Value, String> {
        if matches!(text, "" | "off") {
            return Ok(None);
        }
        let local = || text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let addr = text.parse().or_else(|_| local()).ok().filter(|addr: &SocketAddr| addr.port() != 0);
        let expected = "expected a port as in 21169, which only this machine reaches, \"addr:port\", or \"off\"";
        addr.map(Some).ok_or_else(|| format!("{expected}, not {}", named(text)))
    }

    fn toml(value: &DeValue<'_>) -> Result<Self::Value, String> {
        match integer(value) {
            Some(port) => Self::word(&port.to_string()),
            None => Self::word(string(value)?),
        }
    }

    fn show(value: &Self::Value) -> String {
        Served::show(value)
    }
}

/// A span of time from `MIN_MS` to `MAX_MS`: `"5m"`, or a number of seconds.
pub(super) struct Period<const MIN_MS: u64, const MAX_MS: u64>;

impl<const MIN_MS: u64, const MAX_MS: u64> Kind for Period<MIN_MS, MAX_MS> {
    type Value = Duration;

    fn word(text: &str) -> Result<Duration, String> {
        let span = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => humantime::parse_duration(text)
                .map_err(|_| format!("expected a time as in \"5m\", or a number of seconds, not {}", named(text)))?,
        };
        let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
        if !(min..=max).contains(&span) {
            let [min, max] = [min, max].map(humantime::format_duration);
            return Err(format!("expected a time from {min} to {max}, not {}", named(text)));
        }
        Ok(span)
    }

    fn toml(value: &DeValue<'_>) -> Result<Duration, String> {
        match integer(value) {
            Some(seconds) => Self::word(&seconds.to_string()),
            None => Self::word(string(value)?),
        }
    }

    fn show(value: &Duration) -> String {
        quoted(&humantime::format_duration(*value).to_string())
    }
}

/// A number of bytes: `"10MiB"`, or the plain number.
pub(super) struct Size;

impl Kind for Size {
    type Value = u64;

    fn word(text: &str) -> Result<u64, String> {
        let size = text.parse::<ByteSize>();
        size.map(|size| size.0).map_err(|_| format!("expected a size as in \"10MiB\", not {}", named(text)))
    }

    fn toml(value: &DeValue<'_>) -> Result<u64, String> {
        match integer(value) {
            Some(bytes) => Self::word(&bytes.to_string()),
            None => Self::word(string(value)?),
        }
    }

    fn show(value: &u64) -> String {
        value.to_string()
    }
}

/// A path; a leading `~` is expanded after all places have been read.
pub(super) struct Path;

impl Kind for Path {
    type Value = PathBuf;

    fn word(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.bytes().any(|b| b == 0) {
            return Err(format!("expected a path, not {}", named(text)));
        }
        if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
            return Err(format!("only ~ alone is expanded; write the home directory of {} out", named(text)));
        }
        Ok(PathBuf::from(text))
    }

    fn show(value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

/// A list of paths; as a word separated by colons.
pub(super) struct Paths;

impl Kind for Paths {
    type Value = Vec<PathBuf>;

    fn word(text: &str) -> Result<Self::Value, String> {
        text.split(':').filter(|path| !path.is_empty()).map(Path::word).collect()
    }

    fn toml(value: &DeValue<'_>) -> Result<Self::Value, String> {
        let list = value.as_array().ok_or_else(|| wrong_type("a list of strings", value))?;
        list.iter().map(|item| Path::word(string(item.get_ref())?)).collect()
    }

    fn show(value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(Path::show).collect();
        format!("[{}]", items.join(", "))
    }
}

/// A text as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A given word inside a message.
pub(super) fn named(text: &str) -> String {
    format!("\"{}\"", Escaped(text.as_bytes()))
}

pub(super) fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| wrong_type("a string", value))
}

/// A TOML integer; one that does not fit 64 bits lies outside of every range and is given as the largest.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
}

pub(super) fn wrong_type(expected: &str, value: &DeValue<'_>) -> String {
    format!("expected {expected}, not a value of type {}", value.type_str())
}
