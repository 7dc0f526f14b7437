use proptest::prelude::*;

use super::*;

/// Every way of writing an address that must be refused, and names that mean this host.
const REFUSED: &[&str] = &[
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://0177.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.0.0.1:8443/",
    "https://１２７.０.０.１/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://%31%32%37.0.0.1/",
    "https:\\\\127.0.0.1\\",
    "https:127.0.0.1",
    "https:///127.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://0x0/",
    "https://10.1.2.3/",
    "https://167838211/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://3232235521/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://203.0.113.7/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "https://[::ffff:0:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::169.254.169.254]/",
    "https://[64:ff9b:1::808:808]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:0:808:808:0:0:80ff:fffe]/",
    "https://[fd00:ec2::254]/",
    "https://[fc00::1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[100::1]/",
    "https://[4000::1]/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://ｌocalhost/",
    "https://a.localhost/",
    "https://a.localhost./",
    "https://a..example.com/",
    "http://8.8.8.8/",
];

#[test]
fn every_spelling_is_refused() {
    let guard = Guard::default();
    for text in REFUSED {
        assert!(guard.check_url(text).is_err(), "{text}");
    }
}

#[test]
fn every_spelling_of_loopback_is_allowed_when_loopback_is() {
    let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], None);
    for text in REFUSED.iter().take(19).chain(&["http://[::ffff:7f00:1]/", "http://localhost/", "http://a.localhost:9/", "http://[::1]/"]) {
        assert!(guard.check_url(text).is_ok(), "{text}");
    }
    assert!(guard.check_url("https://10.0.0.1/").is_err());
}

#[test]
fn malformed_urls_are_refused_by_form() {
    for text in [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user@example.com/",
        "https://u:p@example.com/",
        "https://@example.com/",
        "https://127.0.0.1@example.com/",
        "https://example.com/#f",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "https://[::1%25eth0]/",
        "https://%00/",
    ] {
        assert!(TargetUrl::parse(text).is_err(), "{text}");
    }
    assert!(TargetUrl::parse(&format!("https://example.com/{}", "a".repeat(3000))).is_err());
    assert!(TargetUrl::parse(&format!("https://{}com/", "abcdefgh.".repeat(40))).is_err());
}

#[test]
fn ordinary_targets_pass() {
    let guard = Guard::default();
    for text in
        ["https://example.com/hook?a=b", "http://example.com/", "https://x.internal:8443/", "https://8.8.8.8/", "https://[2a00:1450::1]/"]
    {
        assert!(guard.check_url(text).is_ok(), "{text}");
    }
    assert!(guard.check_addr("::ffff:8.8.8.8".parse().unwrap()).is_ok());
}

#[test]
fn plain_http_follows_its_rule() {
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    let private: IpAddr = "10.0.0.1".parse().unwrap();
    let allow = || vec!["10.0.0.0/8".parse().unwrap()];
    for (rule, to_public, to_private) in [(None, false, true), (Some(true), true, true), (Some(false), false, false)] {
        let guard = Guard::new(allow(), rule);
        assert_eq!(guard.check_connect(public, Scheme::Http).is_ok(), to_public, "{rule:?}");
        assert_eq!(guard.check_connect(private, Scheme::Http).is_ok(), to_private, "{rule:?}");
        assert!(guard.check_connect(public, Scheme::Https).is_ok());
    }
    assert!(Guard::new(vec![], Some(false)).check_url("http://example.com/").is_err());
}

#[test]
fn mapped_networks_allow_what_they_map() {
    let guard = Guard::new(vec!["::ffff:10.0.0.0/104".parse().unwrap()], None);
    assert!(guard.check_addr("10.9.9.9".parse().unwrap()).is_ok());
    assert!(guard.check_addr("::ffff:10.9.9.9".parse().unwrap()).is_ok());
    assert!(guard.check_addr("11.0.0.1".parse().unwrap()).is_ok());
    assert!(guard.check_addr("192.168.0.1".parse().unwrap()).is_err());
}

fn forms(v4: Ipv4Addr) -> [Ipv6Addr; 7] {
    let [high, low] = [(v4.to_bits() >> 16) as u16, v4.to_bits() as u16];
    [
        v4.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x808, !0x808),
        Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
    ]
}

proptest! {
    #[test]
    fn embedded_addresses_fare_as_themselves(bits: u32, allowed in 0u32..=u32::MAX, prefix in 0u8..=32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let guards = [
            Guard::default(),
            Guard::new(vec![Ipv4Net::new(Ipv4Addr::from_bits(allowed), prefix).unwrap().into()], None),
            Guard::new(vec![Ipv4Net::new(v4, prefix).unwrap().into()], None),
        ];
        for guard in guards {
            let alone = guard.check_addr(v4.into()).is_ok();
            for form in forms(v4) {
                prop_assert_eq!(guard.check_addr(form.into()).is_ok(), alone, "{}", form);
            }
            for text in [format!("https://{bits}/"), format!("https://0x{bits:x}/"), format!("https://0{bits:o}/")] {
                prop_assert_eq!(guard.check_url(&text).is_ok(), alone, "{}", text);
            }
        }
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        if let Ok(url) = Guard::default().check_url(&text) {
            prop_assert_eq!(TargetUrl::parse(url.as_str()), Ok(url));
        }
    }
}
