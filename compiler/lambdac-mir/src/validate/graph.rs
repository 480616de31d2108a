//! Cycles.

/// Whether a graph of `nodes` nodes has a cycle (Kahn's algorithm). Edges are in range.
pub(super) fn has_cycle(nodes: usize, edges: &[(u32, u32)]) -> bool {
    let mut entering = vec![0_u32; nodes];
    let mut leaving: Vec<Vec<u32>> = vec![Vec::new(); nodes];
    for &(from, to) in edges {
        entering[to as usize] += 1;
        leaving[from as usize].push(to);
    }
    let mut ready: Vec<usize> = (0..nodes).filter(|&node| entering[node] == 0).collect();
    let mut done = 0;
    while let Some(node) = ready.pop() {
        done += 1;
        for &to in &leaving[node] {
            entering[to as usize] -= 1;
            if entering[to as usize] == 0 {
                ready.push(to as usize);
            }
        }
    }
    done < nodes
}
