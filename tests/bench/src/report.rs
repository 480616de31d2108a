//! Results as rows of a table, or as JSON.

use anyhow::Result;
use serde::Serialize;

/// What is asked of a row's ratio, or of its value where there is nothing to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    bench: &'static str,
    name: String,
    unit: &'static str,
    ours: Option<f64>,
    theirs: Option<f64>,
    ratio: Option<f64>,
    target: Option<Target>,
    met: Option<bool>,
    skipped: Option<String>,
    /// Whether it is a cell of a grid, which is shown as a whole.
    #[serde(skip)]
    in_grid: bool,
}

/// Numbers of several things that nothing is asked of, a line for each thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// What the things are of.
    pub name: String,
    /// What the numbers are.
    pub columns: Vec<&'static str>,
    /// Things and their numbers.
    pub lines: Vec<(String, Vec<f64>)>,
}

impl Grid {
    /// As a table of text.
    fn text(&self) -> String {
        let head =
            std::iter::once(self.name.clone()).chain(self.columns.iter().map(|name| (*name).to_owned()));
        let line = |(name, numbers): &(String, Vec<f64>)| -> Vec<String> {
            let numbers = numbers.iter().map(|number| format!("{number}"));
            std::iter::once(name.clone()).chain(numbers).collect()
        };
        let lines: Vec<Vec<String>> = std::iter::once(head.collect())
            .chain(self.lines.iter().map(line))
            .collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut out = String::new();
        for line in &lines {
            let padded = line.iter().enumerate().map(|(column, cell)| match column {
                0 => format!("{cell:<wide$}", wide = width(0)),
                _ => format!("  {cell:>wide$}", wide = width(column)),
            });
            out += padded.collect::<String>().trim_end();
            out.push('\n');
        }
        out
    }

    /// Each number as a row.
    fn rows(&self, bench: &'static str) -> Vec<Row> {
        let row = |line: &str, column: &str, number: f64| Row {
            in_grid: true,
            ..Row::value(bench, &format!("{}, {line}, {column}", self.name), "", &[number])
        };
        let lines = self.lines.iter().flat_map(|(line, numbers)| {
            let cells = self.columns.iter().zip(numbers);
            cells.map(move |(column, number)| row(line, column, *number))
        });
        lines.collect()
    }
}

impl Row {
    fn empty(bench: &'static str, name: String, unit: &'static str) -> Row {
        Row {
            bench,
            name,
            unit,
            ours: None,
            theirs: None,
            ratio: None,
            target: None,
            met: None,
            skipped: None,
            in_grid: false,
        }
    }

    /// What two competitors reached in each run; the ratio is the median of the runs' ratios.
    pub fn versus(bench: &'static str, name: &str, unit: &'static str, runs: &[(f64, f64)]) -> Row {
        Row {
            ours: Some(median(runs.iter().map(|run| run.0))),
            theirs: Some(median(runs.iter().map(|run| run.1))),
            ratio: Some(median(runs.iter().map(|run| run.0 / run.1))),
            ..Row::empty(bench, name.to_owned(), unit)
        }
    }

    /// A ratio alone.
    pub fn ratio(bench: &'static str, name: &str, ratio: f64) -> Row {
        Row {
            ratio: Some(ratio),
            ..Row::empty(bench, name.to_owned(), "")
        }
    }

    /// A value that nothing is compared with.
    pub fn value(bench: &'static str, name: &str, unit: &'static str, runs: &[f64]) -> Row {
        Row {
            ours: Some(median(runs.iter().copied())),
            ..Row::empty(bench, name.to_owned(), unit)
        }
    }

    /// What could not run here, and why.
    pub fn skipped(bench: &'static str, name: &str, reason: &str) -> Row {
        Row {
            skipped: Some(reason.to_owned()),
            ..Row::empty(bench, name.to_owned(), "")
        }
    }

    /// Sets what is asked of it.
    pub fn with_target(mut self, target: Target) -> Row {
        self.target = Some(target);
        self.met = self.ratio.or(self.ours).map(|value| target.is_met(value));
        self
    }

    /// The ratio, where there is one.
    pub fn measured_ratio(&self) -> Option<f64> {
        self.ratio
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| short(value, self.unit));
        let target = match self.target {
            Some(Target::AtMost(limit)) => format!("<= {}", target_text(limit, self)),
            Some(Target::AtLeast(limit)) => format!(">= {}", target_text(limit, self)),
            None => String::new(),
        };
        let verdict = match (&self.skipped, self.met) {
            (Some(reason), _) => format!("skipped: {reason}"),
            (None, Some(true)) => "met".to_owned(),
            (None, Some(false)) => "MISSED".to_owned(),
            (None, None) => String::new(),
        };
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let name = format!("{} {}", self.bench, self.name);
        [
            name,
            number(self.ours),
            number(self.theirs),
            ratio,
            target,
            verdict,
        ]
    }
}

fn target_text(limit: f64, row: &Row) -> String {
    match row.ratio {
        Some(_) => format!("{}", (limit * 1000.0).round() / 1000.0),
        None => short(limit, row.unit),
    }
}

/// Three or four digits and the unit.
fn short(value: f64, unit: &str) -> String {
    let digits = if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    };
    if unit.is_empty() {
        digits
    } else {
        format!("{digits} {unit}")
    }
}

/// The middle value; of an even number of them the lower middle. NaN where there is none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The geometric mean; NaN where there are no values.
pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// All rows so far; each is shown on stderr as it comes.
pub struct Report {
    json: bool,
    rows: Vec<Row>,
    grids: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(json: bool) -> Report {
        Report {
            json,
            rows: Vec::new(),
            grids: Vec::new(),
        }
    }

    /// Adds a result.
    pub fn add(&mut self, row: Row) {
        let cells = row.cells();
        let filled: Vec<&str> = cells
            .iter()
            .map(String::as_str)
            .filter(|cell| !cell.is_empty())
            .collect();
        eprintln!("{}", filled.join("  "));
        self.rows.push(row);
    }

    /// Adds a grid.
    pub fn add_grid(&mut self, bench: &'static str, grid: &Grid) {
        let text = grid.text();
        eprint!("{text}");
        self.grids.push(text);
        self.rows.extend(grid.rows(bench));
    }

    /// Rows that miss their target.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met == Some(false)).count()
    }

    /// Prints table or JSON on stdout.
    pub fn finish(&self) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self.rows)?);
        } else {
            self.grids.iter().for_each(|grid| print!("\n{grid}"));
            let rows: Vec<Row> = self.rows.iter().filter(|row| !row.in_grid).cloned().collect();
            print!("\n{}", table(&rows));
        }
        Ok(())
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["bench", "ours", "theirs", "ratio", "target", ""].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for [name, ours, theirs, ratio, target, verdict] in &lines {
        let [n, o, t, r, g, _] = widths;
        let line = format!("{name:n$}  {ours:>o$}  {theirs:>t$}  {ratio:>r$}  {target:>g$}  {verdict}");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_runs_ratios() {
        let row = Row::versus("b", "n", "ns", &[(1.0, 2.0), (30.0, 10.0), (2.0, 2.0)]);
        assert_eq!(
            (row.ours, row.theirs, row.ratio),
            (Some(2.0), Some(2.0), Some(1.0))
        );
    }

    #[test]
    fn a_target_binds_the_ratio_or_else_the_value() {
        let runs = [(5.0, 10.0)];
        let row = |target| Row::versus("b", "n", "ns", &runs).with_target(target).met;
        assert_eq!(row(Target::AtMost(0.5)), Some(true));
        assert_eq!(row(Target::AtLeast(0.6)), Some(false));
        let value = Row::value("b", "n", "s", &[3.0, 1.0, 2.0]).with_target(Target::AtMost(1.9));
        assert_eq!(value.met, Some(false));
        let skipped = Row::skipped("b", "n", "gcc not found").with_target(Target::AtMost(1.0));
        assert_eq!(skipped.met, None);
    }

    #[test]
    fn the_table_is_aligned_and_shows_what_was_skipped() {
        let rows = [
            Row::versus("host", "web", "ns", &[(13.0, 10.0)]).with_target(Target::AtMost(1.3)),
            Row::skipped("udp", "web", "gcc not found"),
        ];
        let expected = "\
bench        ours   theirs  ratio  target
host web  13.0 ns  10.0 ns  1.300  <= 1.3  met
udp web                                    skipped: gcc not found
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn a_grid_is_a_table_for_people_and_rows_for_scripts() {
        let grid = Grid {
            name: "program".to_owned(),
            columns: vec!["words", "tables"],
            lines: vec![
                ("naive".to_owned(), vec![100.0, 8.0]),
                ("all".to_owned(), vec![9.0, 2.0]),
            ],
        };
        let expected = "\
program  words  tables
naive      100       8
all          9       2
";
        assert_eq!(grid.text(), expected);
        let rows = grid.rows("size");
        let cells: Vec<(&str, Option<f64>)> = rows.iter().map(|row| (&*row.name, row.ours)).collect();
        assert_eq!(cells[0], ("program, naive, words", Some(100.0)));
        assert_eq!(cells[3], ("program, all, tables", Some(2.0)));
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean(&[4.0, 0.25]) - 1.0).abs() < 1e-12);
    }
}
