//! A small generator of pseudo-random numbers (splitmix64): the same seed gives the same load on every machine.

/// The state; 8 bytes, cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Rng(u64);

impl Rng {
    /// A generator that always gives the same numbers for one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits: as many as an f64 holds exactly.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_sequence_and_all_of_the_unit_interval() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let number = a.unit();
            assert_eq!(number.to_bits(), b.unit().to_bits());
            tenths[(number * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (800..1_200).contains(n)), "{tenths:?}");
        assert_ne!(Rng::new(7).bits(), Rng::new(8).bits());
    }
}
