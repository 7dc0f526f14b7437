//! Which addresses Posthorn may connect to. The control plane asks when a subscription is made, the data plane asks
//! again at each connect (I10).
//!
//! Refused are the special-purpose registries of RFC 6890 and its successors, both families, everything outside the
//! global unicast space of IPv6, the metadata addresses of clouds, and what embeds any of them. The operator's list of
//! allowed networks wins over all of this.

mod ranges;
mod target_url;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

pub use target_url::{Scheme, TargetUrl, UrlFault};
use url::Host;

/// The rules, made once from the configuration. Checking takes no lock and no allocation.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
    allow_http: Option<bool>,
}

/// An address that must not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{addr} is {why}")]
pub struct Forbidden {
    /// The address as it was given.
    pub addr: IpAddr,
    /// What it is, to stand after "is".
    pub why: &'static str,
}

impl Guard {
    /// `allow`: networks that may be connected to although they are special. `allow_http`: whether plain `http` may be
    /// used: to every permitted address, to none, or (`None`) only to addresses in `allow`.
    pub fn new(allow: Vec<IpNet>, allow_http: Option<bool>) -> Self {
        let unmapped: Vec<IpNet> = allow.iter().filter_map(unmapped_net).collect();
        Self { allow: allow.into_iter().chain(unmapped).collect(), allow_http }
    }

    /// Whether `addr` may be connected to at all.
    ///
    /// # Errors
    /// [`Forbidden`] when it, or an IPv4 address inside it, is special-purpose and not allowed.
    pub fn check_addr(&self, addr: IpAddr) -> Result<(), Forbidden> {
        if self.lists(addr) {
            return Ok(());
        }
        let why = match addr {
            IpAddr::V4(v4) => ranges::special_v4(v4),
            IpAddr::V6(v6) => self.special_v6(v6),
        };
        why.map_or(Ok(()), |why| Err(Forbidden { addr, why }))
    }

    /// Whether `addr` may be connected to by `scheme`.
    ///
    /// # Errors
    /// [`Forbidden`] as [`Guard::check_addr`], and when plain `http` is not for this address.
    pub fn check_connect(&self, addr: IpAddr, scheme: Scheme) -> Result<(), Forbidden> {
        self.check_addr(addr)?;
        if scheme == Scheme::Https || self.allows_http(addr) {
            return Ok(());
        }
        Err(Forbidden { addr, why: "not to be reached by plain http" })
    }

    /// Whether a subscription may name this URL. Names are only looked at here; their addresses are checked at connect.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check_url(&self, text: &str) -> Result<TargetUrl, Vec<UrlFault>> {
        let url = TargetUrl::parse(text)?;
        match self.host_fault(&url) {
            Some(detail) => Err(vec![UrlFault { detail }]),
            None => Ok(url),
        }
    }

    fn host_fault(&self, url: &TargetUrl) -> Option<String> {
        let verdict = match url.host() {
            Host::Ipv4(v4) => self.check_connect(v4.into(), url.scheme()),
            Host::Ipv6(v6) => self.check_connect(v6.into(), url.scheme()),
            Host::Domain(name) => return self.name_fault(name, url.scheme()),
        };
        verdict.err().map(|forbidden| format!("{forbidden}; it is not in `delivery.allow_cidrs`"))
    }

    fn name_fault(&self, name: &str, scheme: Scheme) -> Option<String> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if is_loopback_name(name) && !loopback.iter().any(|addr| self.check_addr(*addr).is_ok()) {
            return Some(format!("`{name}` is a name of this host; loopback is not in `delivery.allow_cidrs`"));
        }
        if scheme == Scheme::Http && self.allow_http == Some(false) {
            return Some("plain http is not allowed here; use https".into());
        }
        None
    }

    /// Why this IPv6 address is refused, its embedded addresses judged as themselves.
    fn special_v6(&self, addr: Ipv6Addr) -> Option<&'static str> {
        let embedded = ranges::embedded(addr);
        if embedded.is_empty() {
            return ranges::special_v6(addr);
        }
        let refused = |v4: &Ipv4Addr| if self.lists((*v4).into()) { None } else { ranges::special_v4(*v4) };
        embedded.iter().find_map(refused)
    }

    fn allows_http(&self, addr: IpAddr) -> bool {
        match self.allow_http {
            Some(allowed) => allowed,
            None => self.lists(addr) || self.lists_embedded(addr),
        }
    }

    fn lists_embedded(&self, addr: IpAddr) -> bool {
        let IpAddr::V6(v6) = addr else { return false };
        let embedded = ranges::embedded(v6);
        !embedded.is_empty() && embedded.iter().all(|v4| self.lists((*v4).into()))
    }

    fn lists(&self, addr: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&addr))
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} allowed networks, plain http {}",
            self.allow.len(),
            match self.allow_http {
                None => "to them only",
                Some(true) => "everywhere",
                Some(false) => "nowhere",
            }
        )
    }
}

/// `::ffff:10.0.0.0/104` also means `10.0.0.0/8`.
fn unmapped_net(net: &IpNet) -> Option<IpNet> {
    let IpNet::V6(v6) = net else { return None };
    let v4 = v6.addr().to_ipv4_mapped()?;
    let prefix = v6.prefix_len().checked_sub(96)?;
    Ipv4Net::new(v4, prefix).ok().map(IpNet::V4)
}

/// RFC 6761 §6.3 gives `localhost` and all below it to loopback; a name with an empty label is none, and resolvers
/// differ on what they make of it.
fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').any(str::is_empty) || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
