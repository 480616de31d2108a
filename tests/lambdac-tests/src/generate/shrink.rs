//! Makes a failing program smaller by deleting and lowering choices.

/// The smallest choices found, within a number of tries, for which `fails` still holds.
pub fn shrink(choices: &[u32], tries: u32, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = choices.to_vec();
    let mut left = tries;
    let mut attempt = |candidate: Vec<u32>, best: &mut Vec<u32>| {
        if left == 0 || candidate == *best {
            return false;
        }
        left -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    loop {
        let before = best.clone();
        delete_runs(&mut best, &mut attempt);
        lower(&mut best, &mut attempt);
        if best == before {
            return best;
        }
    }
}

/// Deletes runs of choices, long ones first.
fn delete_runs(best: &mut Vec<u32>, attempt: &mut impl FnMut(Vec<u32>, &mut Vec<u32>) -> bool) {
    let mut length = (best.len() / 2).max(1);
    loop {
        let mut at = best.len();
        while at > 0 {
            at = at.saturating_sub(length);
            let mut candidate = best.clone();
            candidate.drain(at..(at + length).min(best.len()));
            attempt(candidate, best);
        }
        if length == 1 {
            return;
        }
        length /= 2;
    }
}

/// Sets choices to zero, else halves them.
fn lower(best: &mut Vec<u32>, attempt: &mut impl FnMut(Vec<u32>, &mut Vec<u32>) -> bool) {
    for at in 0..best.len() {
        if best.get(at).is_none_or(|&choice| choice == 0) {
            continue;
        }
        let mut zero = best.clone();
        zero[at] = 0;
        if !attempt(zero, best) {
            let mut half = best.clone();
            half[at] /= 2;
            attempt(half, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn what_does_not_matter_is_deleted() {
        let choices: Vec<u32> = (0..200).collect();
        let small = shrink(&choices, 10_000, |c| c.iter().any(|&x| x >= 77));
        assert_eq!(small.len(), 1);
        assert!(small[0] >= 77);
    }

    #[test]
    fn it_stops_after_the_tries() {
        let mut calls = 0;
        shrink(&[1; 1000], 25, |_| {
            calls += 1;
            false
        });
        assert_eq!(calls, 25);
    }
}
