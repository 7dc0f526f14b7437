//! Names to addresses: hickory with its bounded TTL cache, or a function that a test gives.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig as HickoryConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use smallvec::SmallVec;

/// As many addresses of a name as are tried.
const MAX_ADDRS: usize = 8;

/// Looks names up. Cheap to clone; shared by all shards.
#[derive(Clone)]
pub struct Resolver(Source);

#[derive(Clone)]
enum Source {
    System(Arc<TokioResolver>),
    Given(Arc<Lookup>),
}

type Lookup = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Limits of the system's resolver.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Servers to ask instead of the system's.
    pub servers: Vec<SocketAddr>,
    /// For one query to one server.
    pub timeout: Duration,
    /// Answers kept.
    pub cache_entries: u64,
    /// The longest that an answer is kept, whatever its TTL.
    pub max_ttl: Duration,
    /// The longest that a "no such name" is kept.
    pub max_negative_ttl: Duration,
}

/// The name led to no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve `{host}`: {detail}")]
pub struct DnsError {
    /// The name.
    pub host: String,
    /// What the resolver said.
    pub detail: String,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            cache_entries: 16_384,
            max_ttl: Duration::from_secs(300),
            max_negative_ttl: Duration::from_secs(10),
        }
    }
}

impl Resolver {
    /// By `/etc/hosts`, then the servers of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// When these files cannot be read.
    pub fn system(config: ResolverConfig) -> Result<Self, DnsError> {
        let failed = |error: &dyn std::fmt::Display| DnsError { host: "/etc/resolv.conf".into(), detail: error.to_string() };
        let provider = TokioRuntimeProvider::default();
        let mut builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                // A machine without DNS still delivers to literal addresses and to what /etc/hosts names.
                tracing::warn!(%error, "the system names no DNS server; only literal addresses and /etc/hosts will be found");
                TokioResolver::builder_with_config(HickoryConfig::from_parts(None, Vec::new(), Vec::new()), provider)
            })
        } else {
            let servers = config.servers.iter().map(|server| name_server(*server)).collect();
            TokioResolver::builder_with_config(HickoryConfig::from_parts(None, Vec::new(), servers), provider)
        };
        let options = builder.options_mut();
        options.timeout = config.timeout;
        options.attempts = 2;
        options.cache_size = config.cache_entries;
        options.positive_max_ttl = Some(config.max_ttl);
        options.negative_max_ttl = Some(config.max_negative_ttl);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        Ok(Self(Source::System(Arc::new(builder.build().map_err(|error| failed(&error))?))))
    }

    /// By what `lookup` says at each call.
    pub fn given(lookup: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Source::Given(Arc::new(lookup)))
    }

    /// The addresses of `host`, in the order to try them; at least one, at most eight.
    ///
    /// # Errors
    /// [`DnsError`] when there is none.
    pub async fn resolve(&self, host: &str) -> Result<SmallVec<[IpAddr; 4]>, DnsError> {
        let failed = |detail: String| DnsError { host: host.to_owned(), detail };
        let found: SmallVec<[IpAddr; 4]> = match &self.0 {
            Source::Given(lookup) => lookup(host).into_iter().take(MAX_ADDRS).collect(),
            Source::System(resolver) => {
                let answer = resolver.lookup_ip(host).await.map_err(|error| failed(error.to_string()))?;
                answer.iter().take(MAX_ADDRS).collect()
            }
        };
        if found.is_empty() { Err(failed("no addresses".into())) } else { Ok(found) }
    }
}

/// A server at this address and port, asked over UDP and, for long answers, over TCP.
fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = server.port();
    }
    NameServerConfig::new(server.ip(), true, connections)
}
