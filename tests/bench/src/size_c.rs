//! `size`, counted by others: λ-NIC's unoptimised program as C, as linked and after all passes, by the bytes of code and
//! constants that gcc and clang make of it.
//!
//! gcc folds functions that are alike by itself, which is coalescing done in the image as linked too; a row says what is
//! left without that. A compiler that is not there is a visible skip.

use anyhow::{Result, anyhow};
use lambdac_backend_c::{Dialect, Options};
use lambdac_image::Image;
use lambdac_tests::differential::Mismatch;
use lambdac_tests::images::{Member, folder, image, linked};
use lnic_nfp::{Build, Code, Toolchain};

use crate::report::{Report, Row, Target};

/// What is left at most.
const GOAL: f64 = 0.75;
/// Requests that members are made with; nothing runs here.
const REQUESTS: u64 = 1_000;

/// Runs the bench.
pub fn run(report: &mut Report) -> Result<()> {
    let members = folder("examples/lambda-nic-original", REQUESTS);
    let members: Vec<&Member> = members.iter().collect();
    let code = |image: Result<Image, Mismatch>| -> Result<Code> {
        let image = image.map_err(|error| anyhow!("{error}"))?;
        Ok(Code::new(&image, &Options::new(Dialect::Host))?)
    };
    let (naive, end) = (code(linked(&members))?, code(image(&members, &[]))?);
    let builds = [
        ("gcc", Build::Small, "gcc -Os"),
        ("gcc", Build::Unfolded, "gcc -Os -fno-ipa-icf"),
        ("clang", Build::Small, "clang -Os"),
    ];
    for (compiler, build, shown) in builds {
        let Some(toolchain) = Toolchain::find(compiler) else {
            eprintln!("skipped: {compiler} not found");
            continue;
        };
        let bytes = |code: &Code| -> Result<f64> { Ok(code.sizes(&toolchain, &build)?.total() as f64) };
        let runs = [(bytes(&end)?, bytes(&naive)?)];
        let name = format!("lambda-nic-original in C, {shown}");
        report.add(Row::versus("size", &name, "bytes", &runs).with_target(Target::AtMost(GOAL)));
    }
    Ok(())
}
