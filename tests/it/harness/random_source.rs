//! Chance that can be repeated: a seed gives the same throws again (`SplitMix64`).

/// A die.
pub(crate) struct Dice(u64);

impl Dice {
    /// With this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed that the variable names; else one that nobody has chosen.
    pub(crate) fn seed(variable: &str) -> u64 {
        match std::env::var(variable).ok().filter(|text| !text.is_empty()) {
            Some(text) => text.parse().expect("a seed is a number"),
            None => {
                u64::from(uuid::Uuid::now_v7().as_fields().1) << 16 | u64::from(std::process::id())
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// In another order.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}
