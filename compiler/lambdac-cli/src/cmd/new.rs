//! `lambdac new`

use std::path::Path;

use crate::args::New;
use crate::exit::{Exit, Result};
use crate::report;

/// Longest name: an OpenFaaS function's name is a DNS label.
const MAX_NAME: usize = 63;

/// Makes a folder with a workload, its test, and a stack file for faas-cli.
pub fn run(args: &New) -> Result {
    let name = &args.name;
    check_name(name)?;
    let dir = Path::new(name);
    if dir.exists() {
        return Err(Exit::Usage(format!("{name:?} already exists")));
    }
    std::fs::create_dir_all(dir).map_err(Exit::environment(dir.display()))?;
    let function = name.replace('_', "-");
    let files = [
        (format!("{name}.lnic"), WORKLOAD.replace("NAME", name)),
        (
            "stack.yaml".to_owned(),
            STACK.replace("FUNCTION", &function).replace("NAME", name),
        ),
    ];
    for (file, text) in files {
        let path = dir.join(file);
        std::fs::write(&path, text).map_err(Exit::environment(path.display()))?;
    }
    report::print(format!(
        "made {name}/{name}.lnic and {name}/stack.yaml\n\nGo on with:\n    lambdac test {name}\n    lambdac run {name}\n    lambdac invoke {name} --data world\n"
    ))
}

/// A workload's name is also a function's, so it is lower case; control words can't be names.
fn check_name(name: &str) -> Result {
    const CONTROL: [&str; 16] = [
        "if", "else", "for", "while", "in", "let", "mut", "fn", "lambda", "match", "return", "reply",
        "break", "continue", "as", "await",
    ];
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !starts || !plain || name.ends_with('_') || name.len() > MAX_NAME {
        return Err(Exit::Usage(format!(
            "{name:?} can't be a workload's name: lower-case letters, digits and `_`, a letter first"
        )));
    }
    if CONTROL.contains(&name) || matches!(name, "true" | "false") {
        return Err(Exit::Usage(format!("{name:?} is a word of the language")));
    }
    Ok(())
}

const WORKLOAD: &str = r#"//! Greets.
workload NAME;

/// Requests that were answered.
state greeted: counter;

lambda NAME(who: bytes<64>) -> bytes<80> {
    let mut greeting: bytes<80> = b"hello, ";
    greeting.append(who);
    greeted.add(1);
    reply greeting;
}

test "it greets" {
    expect NAME(b"world") == b"hello, world";
    expect greeted == 1;
}
"#;

const STACK: &str = r#"# For faas-cli. The function is compiled by the worker's builder; no container is made.
version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080
functions:
  FUNCTION:
    lang: dockerfile
    handler: .
    image: NAME:latest
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words_that_the_language_leaves_free() {
        assert!(check_name("kv_get2").is_ok());
        for bad in [
            "",
            "Kv",
            "2kv",
            "kv-get",
            "kv_",
            "match",
            "true",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
