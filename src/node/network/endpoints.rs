//! Which endpoints can be a peer, which are ourselves, and which one we advertise.

use super::NetworkMachine;
use crate::control::Problem;
use crate::network::WideNetwork;
use crate::node::cx::Cx;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The form of an endpoint as a key: IPv4-mapped IPv6 becomes IPv4, without flow label.
pub(in crate::node) fn canonical(endpoint: SocketAddr) -> SocketAddr {
    match endpoint {
        SocketAddr::V4(_) => endpoint,
        SocketAddr::V6(v6) if v6.scope_id() != 0 && v6.ip().to_ipv4_mapped().is_none() => endpoint,
        SocketAddr::V6(_) => SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port()),
    }
}

pub(super) fn is_unicast(endpoint: SocketAddr) -> bool {
    let ip = endpoint.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    endpoint.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl NetworkMachine {
    /// The endpoint that we give to other peers; `None` while no address of ours is known.
    pub(in crate::node) fn advertised(&self, cx: &Cx) -> Option<SocketAddr> {
        let config = &cx.config;
        if !config.peer {
            return None;
        }
        let listening = Some(config.listen.ip()).filter(|ip| !ip.is_unspecified());
        let ip = config
            .advertise_addr
            .or(self.membership.reached_from)
            .or(listening)
            // Without any reachable bootstrap node, an address of this machine is the best guess.
            .or_else(|| self.first_local_addr(cx))?;
        Some(SocketAddr::new(ip.to_canonical(), config.listen.port()))
    }

    fn first_local_addr(&self, cx: &Cx) -> Option<IpAddr> {
        let fits = |ip: &&IpAddr| cx.config.listen.is_ipv6() || ip.is_ipv4();
        let known = || cx.config.local_addrs.iter().filter(fits);
        known().find(|ip| !ip.is_loopback()).or_else(|| known().next()).copied()
    }

    pub(in crate::node) fn is_ourselves(&self, cx: &Cx, endpoint: SocketAddr) -> bool {
        let (ip, listen) = (endpoint.ip(), cx.config.listen);
        if endpoint.port() != listen.port() {
            return false;
        }
        let at_listener = if listen.ip().is_unspecified() {
            ip.is_loopback() || cx.config.local_addrs.iter().any(|local| local.to_canonical() == ip)
        } else {
            listen.ip().to_canonical() == ip
        };
        at_listener || self.advertised(cx) == Some(endpoint)
    }

    /// The wide networks of this node's addresses, without the loopback network.
    pub(super) fn home_networks(&self, cx: &Cx) -> BTreeSet<WideNetwork> {
        let listen = cx.config.listen.ip();
        let locals = cx.config.local_addrs.iter().copied().filter(|_| listen.is_unspecified());
        let all = locals.chain([listen]).chain(self.advertised(cx).map(|addr| addr.ip()));
        let is_address = |ip: &IpAddr| !ip.to_canonical().is_loopback() && !ip.is_unspecified();
        all.filter(is_address).map(WideNetwork::of).collect()
    }

    /// Whether an endpoint that a peer named can be a peer. A loopback address is plausible only if it was named from this
    /// machine, or if we use one ourselves.
    pub(in crate::node) fn is_plausible(&self, cx: &Cx, endpoint: SocketAddr, named_by: IpAddr) -> bool {
        let here = || {
            named_by.to_canonical().is_loopback()
                || cx.config.listen.ip().is_loopback()
                || self.advertised(cx).is_some_and(|ours| ours.ip().is_loopback())
        };
        is_unicast(endpoint) && !self.is_ourselves(cx, endpoint) && (!endpoint.ip().is_loopback() || here())
    }

    /// Takes an endpoint that the user named.
    pub(in crate::node) fn peer_of_user(&self, cx: &Cx, endpoint: SocketAddr) -> Result<SocketAddr, Problem> {
        let endpoint = canonical(endpoint);
        if self.is_ourselves(cx, endpoint) {
            return Err(Problem::Ourselves(endpoint));
        }
        if !is_unicast(endpoint) {
            return Err(Problem::NoPeerAddress(endpoint));
        }
        Ok(endpoint)
    }
}
