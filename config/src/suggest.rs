//! "Did you mean": the nearest of some known words.

/// The candidate with the fewest edits from `word`, if that is few enough to be a slip.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = 1 + word.chars().count() / 3;
    let scored = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    scored
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) from one word to the other, letters' case ignored.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().collect();
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replace = above[j] + usize::from(from[i] != to[j]);
            let mut best = replace.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["cipher", "plain", "mode", "rx_checksum"];
        assert_eq!(nearest("cypher", keys), Some("cipher"));
        assert_eq!(nearest("cihper", keys), Some("cipher"));
        assert_eq!(nearest("Plain", keys), Some("plain"));
        assert_eq!(nearest("rx-checksum", keys), Some("rx_checksum"));
        assert_eq!(nearest("checksum", keys), Some("rx_checksum"));
        assert_eq!(nearest("bananas", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn a_swap_is_one_edit() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
