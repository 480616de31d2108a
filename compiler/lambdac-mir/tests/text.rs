//! The text form: every example of the reference parses, is valid and prints back; broken text never panics.

use lambdac_mir::{Module, parse, parse_image, print_image, validate};

const REFERENCE: &str = include_str!("../../../lang-spec/mir.md");

/// The blocks of the reference that are MIR.
fn examples() -> Vec<&'static str> {
    let blocks: Vec<&str> = REFERENCE
        .split("```mir\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(
        blocks.len() >= 9,
        "the reference has an example of each construct"
    );
    blocks
}

fn modules() -> Vec<Module> {
    examples()
        .into_iter()
        .map(|text| parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
        .collect()
}

#[test]
fn examples_of_the_reference_are_valid() {
    for module in modules() {
        if let Err(errors) = validate(&module) {
            panic!("{}: {errors:#?}", module.name);
        }
    }
}

#[test]
fn examples_print_back_as_they_were() {
    for module in modules() {
        let text = module.to_string();
        let again = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again, module);
        assert_eq!(again.to_string(), text);
    }
}

#[test]
fn examples_stand_as_the_printer_writes_them() {
    for (text, module) in examples().into_iter().zip(modules()) {
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&module.to_string()), squeeze(text));
    }
}

#[test]
fn an_image_is_its_modules_one_after_the_other() {
    let modules = modules();
    assert_eq!(
        parse_image(&print_image(&modules)).as_deref(),
        Ok(modules.as_slice())
    );
}

#[test]
fn errors_name_line_and_column() {
    let error = parse("module \"m\"\nconst c0 \"ä\": i8 = b\"\\q\"\n").unwrap_err();
    assert_eq!(error.to_string(), "2:22: not an escape of a byte string");
    let error = parse("module \"m\"\ndispatch only v1").unwrap_err();
    assert_eq!(error.to_string(), "2:15: expected `l` and a number, found `v1`");
}

/// A small generator of random numbers, so that failures repeat.
fn rolls(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    }
}

#[test]
fn mutated_text_never_panics_and_what_is_valid_prints_back() {
    let examples = examples();
    let words: Vec<&str> = examples
        .iter()
        .flat_map(|text| text.split_inclusive([' ', '\n']))
        .collect();
    let (mut parsed, mut valid) = (0, 0);
    for seed in 0..20_000 {
        let mut roll = rolls(seed);
        let text = examples[roll(examples.len())];
        let mut tokens: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
        for _ in 0..=roll(3) {
            let at = roll(tokens.len());
            match roll(3) {
                0 => drop(tokens.remove(at)),
                1 => tokens[at] = words[roll(words.len())],
                _ => tokens.insert(at, words[roll(words.len())]),
            }
        }
        if let Ok(module) = parse(&tokens.concat()) {
            parsed += 1;
            assert_eq!(parse(&module.to_string()).as_ref(), Ok(&module));
            valid += u32::from(validate(&module).is_ok());
        }
    }
    assert!(
        parsed > valid && valid > 100,
        "mutations reach the parser and the validator: {parsed}, {valid}"
    );
}

#[test]
fn cut_text_never_panics() {
    for text in examples() {
        for (end, _) in text.char_indices() {
            let _ = parse(&text[..end]);
        }
    }
}

#[test]
fn deep_nesting_and_huge_repetitions_are_errors() {
    let deep = |open: &str, n: usize| format!("module \"m\"\nfunc f0 \"f\"(v0: i1) {{\n{}", open.repeat(n));
    let message = |text: &str| parse(text).unwrap_err().message;
    assert_eq!(message(&deep("if v0 {\n", 100_000)), "nested deeper than 512");
    assert_eq!(
        message(&format!("module \"m\" const c0 \"c\": {}", "[".repeat(100_000))),
        "a shape nests deeper than 64"
    );
    assert_eq!(
        message("module \"m\" const c0 \"c\": i8 = [[[0 x 4000000] x 4000000] x 4000000]"),
        "lists of more than 8388608 elements in all"
    );
    assert_eq!(
        message("module \"m\" const c0 \"c\": i8 = bytes[0 x 18446744073709551615]"),
        "byte strings of more than 268435456 bytes in all"
    );
    assert_eq!(
        message("module \"m\" func f0 \"f\"(v4000000000: i8)"),
        "v4000000000 is past the 1048576 values of a body"
    );
    let all = format!("module \"m\" dispatch match min 0 {{ {}", "not(".repeat(100_000));
    assert_eq!(message(&all), "nested deeper than 512");
}
