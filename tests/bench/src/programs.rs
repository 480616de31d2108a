//! Workloads for the compiler to chew on: alike in size, different in every name and number.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

/// Writes so many workloads into a folder, each a file.
pub fn write(folder: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for index in 0..count {
        std::fs::write(folder.join(format!("w{index}.lnic")), program(index))?;
    }
    Ok(())
}

/// About fifty lines: a header, state, a fn, three lambdas, a match, a test.
pub fn program(index: usize) -> String {
    let (key, capacity, salt) = (8 + index % 3 * 8, 64 << (index % 5), index * 7919 + 13);
    let mut text = format!(
        "//! Generated workload {index}.
workload w{index};

use text;

enum Op: u8 {{ Get = 0, Set = 1, Sum = 2 }}
header Request{index} {{ op: u8, flags: u4, version: u4, key: [u8; {key}], value: bytes<128> }}

const SALT: u32 = {salt};
state seen: counter[3];
state recent: lru<[u8; {key}], bytes<128>>({capacity});
state level: u32 = {index};

fn mix(data: bytes) -> u32 {{
    let mut hash = SALT;
    for i in 0..data.len() max 128 {{
        hash = (hash ^ data[i] as u32) * 16777619;
    }}
    return hash;
}}

lambda get(req: Request{index}) -> bytes<128> {{
    seen[0].add(1);
    let value = recent.get(req.key) else {{ reply b\"none of {index}\"; }};
    reply value;
}}

lambda set(req: Request{index}) -> bytes<16> {{
    seen[1].add(1);
    recent.put(req.key, req.value);
    reply b\"STORED\";
}}

lambda sum(req: Request{index}) -> bytes<32> {{
    seen[2].add(1);
    let before = level.fetch_add(1);
    let mut out: bytes<32>;
    out.append(text::dec(mix(req.value) as u64 + before as u64));
    out.push(b' ');
"
    );
    for step in 0..index % 4 {
        // Writing to a String can't fail.
        _ = writeln!(
            text,
            "    if before == {} {{ out.push({}); }}",
            step * 10,
            step + 65
        );
    }
    _ = write!(
        text,
        "    reply out;
}}

match (req: Request{index}) {{
    req.version != 1 => drop,
    req.op == Op::Get => get,
    req.op == Op::Set && req.value.len() > 0 => set,
    req.op == Op::Sum => sum,
    _ => drop,
}}

test \"what was set comes back\" {{
    expect w{index}(Request{index} {{ op: 1, flags: 0, version: 1, key: pad(b\"k\"), value: b\"v\" }}) == b\"STORED\";
    expect w{index}(Request{index} {{ op: 0, flags: 0, version: 1, key: pad(b\"k\"), value: b\"\" }}) == b\"v\";
    expect seen[0] == 1;
}}
"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambdac_driver::{Input, NoSources, Session};

    #[test]
    fn generated_workloads_are_right_and_give_no_warning() {
        for index in 0..60 {
            let mut session = Session::new(Box::new(NoSources));
            let bytes = program(index).into_bytes();
            let checked = session.check(&Input {
                name: format!("w{index}.lnic"),
                bytes,
            });
            assert!(
                checked.diagnostics.is_empty(),
                "{index}: {:?}",
                checked.diagnostics
            );
        }
    }
}
