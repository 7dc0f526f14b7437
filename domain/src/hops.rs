//! How Posthorns count the hops of an event (docs/decisions/0020): the words that the sender and the receiver share.

/// The attribute that counts the Posthorns that an event came through, an Integer.
pub const HOPS: &str = "hops";
/// The header by which a Posthorn's deliveries are known.
pub const DELIVERY_HEADER: &str = "posthorn-delivery";
/// The header that carries the count where a delivery has no attributes (`format: data`), of events that came through a Posthorn.
pub const HOPS_HEADER: &str = "posthorn-hops";
