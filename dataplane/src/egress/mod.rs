//! The HTTP client of the delivery engine: a pool per delivery shard, on a current-thread runtime, used by that shard only.
//!
//! One deadline covers a whole exchange. The address that is connected to is the address that was checked (I10).
//! No redirects, no proxies from the environment, no cookies.

mod allowed_rate;
mod answer;
mod body;
mod connect;
mod endpoint;
mod error;
mod exchange;
mod h1;
mod h2;
mod head;
mod origin;
mod pool;
mod recent;
mod reply;
mod resolver;
mod retry_after;
mod sender;
mod stream;
mod target;
mod tls;

pub use allowed_rate::AllowedRate;
pub use body::Pieces;
pub use error::{Fault, Phase, SendError};
pub use head::Head;
pub use pool::{Pool, PoolConfig};
pub use reply::Reply;
pub use resolver::{DnsError, Resolver, ResolverConfig};
pub use sender::{Sender, Transport};
pub use target::{InvalidTarget, Target, TlsIdentity};
pub use tls::{TlsSetupError, client_config};
