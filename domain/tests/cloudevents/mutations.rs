//! Seeded mutations of the corpus: no input makes a decoder panic, or breaks what `fuzz_decode` asserts.

use posthorn_domain::cloudevents::fuzz::fuzz_decode;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/cloudevents");
const ROUNDS: usize = 4000;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 16] =
        [b"{", b"}", b"[", b"]", b"\"", b"\\", b",", b":", b"null", b"\\ud800", b"%", b"\xff", b"1e9", b"\n", b"\"data\":", b"\\u0000"];
    let at = random.below(bytes.len() + 1);
    match random.below(5) {
        0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        1 if at < bytes.len() => drop(bytes.remove(at)),
        2 => bytes.truncate(at),
        3 => {
            let end = (at + random.below(24)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, part);
        }
        _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
    }
}

#[test]
fn nothing_breaks_the_decoders() {
    let mut seeds: Vec<_> = std::fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 8);
    let mut random = Random(7);
    for seed in seeds {
        let seed = std::fs::read(seed).unwrap();
        fuzz_decode(&seed);
        for _ in 0..ROUNDS {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut bytes, &mut random);
            }
            fuzz_decode(&bytes);
        }
    }
}
