//! Did-you-mean: the known name nearest to a wrong one.

/// Names longer than this are not compared; their distance says nothing to a reader.
const MAX_LEN: usize = 40;
/// So many suggestions are looked for in a run, so that many wrong names in a big file stay cheap.
pub(crate) const MAX_SUGGESTIONS: u32 = 30;

/// The candidate nearest to `wrong`, if it is near enough to be meant. Ties go to the first in alphabetical order.
pub(crate) fn nearest<'n>(wrong: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<String> {
    if wrong.len() > MAX_LEN {
        return None;
    }
    let limit = (wrong.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|name| name.len() <= MAX_LEN && name.len().abs_diff(wrong.len()) <= limit)
        .map(|name| (distance(wrong.as_bytes(), name.as_bytes()), name))
        .filter(|&(distance, _)| distance <= limit)
        .min()
        .map(|(_, name)| name.to_string())
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(!a[i - 1].eq_ignore_ascii_case(&b[j - 1]));
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_found() {
        let known = ["recent", "seen", "ttl"];
        assert_eq!(nearest("recnet", known).as_deref(), Some("recent"));
        assert_eq!(nearest("sen", known).as_deref(), Some("seen"));
        assert_eq!(nearest("Ttl", known).as_deref(), Some("ttl"));
    }

    #[test]
    fn an_unlike_name_is_not_suggested() {
        assert_eq!(nearest("cache", ["seen", "ttl"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
