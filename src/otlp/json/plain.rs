//! Text that stands in JSON as it is.

/// How many bytes stand before the first quote, backslash or control character.
#[inline(always)]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | ..=0x1f);
    words.len() * 8 + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Eight bytes at once: the lowest bit that is set is the highest of the first byte that is a
/// quote, a backslash or a control character. Borrows can set bits above it by mistake.
#[inline(always)]
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_plain_text_is_found_at_every_place() {
        for length in 0..40 {
            for end in [b'"', b'\\', 0, 0x1f, b'\n'] {
                for place in 0..length {
                    let mut text: Vec<u8> = (0..length).map(|n| 0x20 + n as u8 * 5).collect();
                    text.iter_mut()
                        .filter(|byte| matches!(**byte, b'"' | b'\\'))
                        .for_each(|byte| *byte = 0xff);
                    text[place] = end;
                    assert_eq!(plain(&text), place, "{text:?}");
                }
            }
        }
        assert_eq!(plain(b"\x7f\x80\xff !#[]"), 8);
    }
}
