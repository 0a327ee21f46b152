//! One bit for each record of a segment.

/// A set of small numbers, in a bit each up to the largest that was ever in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    /// How many are in it.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let word = self.words.get(number as usize / 64);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Puts it in; false if it was.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let at = number as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let added = !self.contains(number);
        if let Some(word) = self.words.get_mut(at) {
            *word |= 1 << (number % 64);
        }
        self.count += u32::from(added);
        added
    }

    /// Takes it out; false if it was not in it.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        let removed = self.contains(number);
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
        self.count -= u32::from(removed);
        removed
    }

    /// Those in it, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..)
            .step_by(64)
            .zip(&self.words)
            .flat_map(|(base, word)| {
                let word = *word;
                (0..64).filter_map(move |bit| (word & (1 << bit) != 0).then_some(base + bit))
            })
    }

    /// The least in it.
    pub(super) fn first(&self) -> Option<u32> {
        (0u32..)
            .step_by(64)
            .zip(&self.words)
            .find(|(_, word)| **word != 0)
            .map(|(base, word)| base + word.trailing_zeros())
    }

    /// Those in it as runs: the first of each, and how many follow one another.
    pub(super) fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for number in self.iter() {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == number => *count += 1,
                _ => runs.push((number, 1)),
            }
        }
        runs
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut bits = Self::default();
        for number in numbers {
            bits.insert(number);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_and_out_and_are_told_as_runs() {
        let mut bits: Bits = [3, 4, 5, 64, 200].into_iter().collect();
        assert!(!bits.insert(64));
        assert!(bits.remove(4) && !bits.remove(4) && !bits.remove(999));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 5, 64, 200]);
        assert_eq!(bits.runs(), [(3, 1), (5, 1), (64, 1), (200, 1)]);
        assert_eq!((bits.count(), bits.first()), (4, Some(3)));
    }
}
