//! The special-purpose ranges as tables: IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, 8190).

use std::net::{Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

/// Network, prefix length, what it is.
type V4 = ([u8; 4], u8, &'static str);
type V6 = ([u16; 8], u8, &'static str);

const SPECIAL_V4: &[V4] = &[
    ([0, 0, 0, 0], 8, "\"this network\" (RFC 791)"),
    ([10, 0, 0, 0], 8, "private (RFC 1918)"),
    ([100, 64, 0, 0], 10, "shared address space (RFC 6598)"),
    ([127, 0, 0, 0], 8, "loopback (RFC 1122)"),
    ([168, 63, 129, 16], 32, "a cloud's metadata service"),
    ([169, 254, 0, 0], 16, "link-local (RFC 3927), where metadata services are"),
    ([172, 16, 0, 0], 12, "private (RFC 1918)"),
    ([192, 0, 0, 0], 24, "for IETF protocol assignments (RFC 6890)"),
    ([192, 0, 2, 0], 24, "for documentation (RFC 5737)"),
    ([192, 31, 196, 0], 24, "for AS112 (RFC 7535)"),
    ([192, 52, 193, 0], 24, "for AMT (RFC 7450)"),
    ([192, 88, 99, 0], 24, "a 6to4 relay (RFC 7526)"),
    ([192, 168, 0, 0], 16, "private (RFC 1918)"),
    ([192, 175, 48, 0], 24, "for AS112 (RFC 7534)"),
    ([198, 18, 0, 0], 15, "for benchmarking (RFC 2544)"),
    ([198, 51, 100, 0], 24, "for documentation (RFC 5737)"),
    ([203, 0, 113, 0], 24, "for documentation (RFC 5737)"),
    ([224, 0, 0, 0], 4, "multicast (RFC 5771)"),
    ([240, 0, 0, 0], 4, "reserved (RFC 1112)"),
];

const SPECIAL_V6: &[V6] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "for IETF protocol assignments (RFC 2928)"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation (RFC 3849)"),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "for AS112 (RFC 7534)"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation (RFC 9637)"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use NAT64 (RFC 8215)"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 63, "discard-only (RFC 6666)"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique-local (RFC 4193)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local (RFC 4291)"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast (RFC 4291)"),
];

/// What this address is, when it is special.
pub(super) fn special_v4(addr: Ipv4Addr) -> Option<&'static str> {
    let bits = addr.to_bits();
    let within = |net: &[u8; 4], prefix: u8| (bits ^ u32::from_be_bytes(*net)).leading_zeros() >= u32::from(prefix);
    SPECIAL_V4.iter().find(|(net, prefix, _)| within(net, *prefix)).map(|(.., why)| *why)
}

/// What this address is, when it is special; of those that embed no IPv4 address. All that is not global unicast
/// (2000::/3, RFC 4291 §2.4) is.
pub(super) fn special_v6(addr: Ipv6Addr) -> Option<&'static str> {
    let listed = SPECIAL_V6.iter().find(|(net, prefix, _)| in_v6(addr, *net, *prefix)).map(|(.., why)| *why);
    listed.or_else(|| (!in_v6(addr, [0x2000, 0, 0, 0, 0, 0, 0, 0], 3)).then_some("outside the global unicast space (RFC 4291)"))
}

/// The IPv4 addresses that a packet to this address may end at.
pub(super) fn embedded(addr: Ipv6Addr) -> SmallVec<[Ipv4Addr; 2]> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match addr.segments() {
        // IPv4-compatible (`::` and `::1` among them: both end in 0/8), IPv4-mapped, IPv4-translated (RFC 4291, RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => SmallVec::from_slice(&[v4(high, low)]),
        // NAT64's well-known prefix (RFC 6052). The local-use one (RFC 8215) may put the address in five places, so it is
        // refused as a whole.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => SmallVec::from_slice(&[v4(high, low)]),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => SmallVec::from_slice(&[v4(high, low)]),
        // Teredo (RFC 4380 §4): the server, and the client with all bits turned over.
        [0x2001, 0, high, low, _, _, a, b] => SmallVec::from_slice(&[v4(high, low), v4(!a, !b)]),
        _ => SmallVec::new(),
    }
}

fn in_v6(addr: Ipv6Addr, net: [u16; 8], prefix: u8) -> bool {
    (addr.to_bits() ^ Ipv6Addr::from(net).to_bits()).leading_zeros() >= u32::from(prefix)
}
