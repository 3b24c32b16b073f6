//! What was measured: as JSON for machines, as tables for people.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::world::median;
use crate::shell;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Everything that one bench has found.
#[derive(Serialize)]
pub(crate) struct Report {
    quick: bool,
    machine: Machine,
    /// How long the bench took.
    pub(crate) seconds: f64,
    figures: Vec<Figure>,
    tables: Vec<Table>,
}

#[derive(Serialize)]
struct Machine {
    system: String,
    kernel: String,
    cpus: usize,
    tools: Vec<String>,
}

/// What a figure is to keep to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// There to compare with.
    None,
}

/// One number.
#[derive(Serialize)]
struct Figure {
    id: &'static str,
    title: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
    met: Option<bool>,
    samples: Vec<f64>,
}

/// Numbers side by side.
#[derive(Serialize)]
struct Table {
    id: &'static str,
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
        // The version alone: what a vendor adds to it says nothing to others.
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel.split('-').next().unwrap_or_default();
        let mut tools = Vec::new();
        for (tool, arg) in [
            ("restic", "version"),
            ("pg_dump", "--version"),
            ("zstd", "--version"),
            ("age", "--version"),
            ("gpg", "--version"),
            ("mariadb-dump", "--version"),
        ] {
            let text = shell::read(shell::hermetic(tool).arg(arg))?;
            let number =
                |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
            let version = text
                .split_whitespace()
                .map(|word| word.trim_matches(['v', ',', '*', '(', ')']))
                .find(number);
            tools.push(format!("{tool} {}", version.unwrap_or("of unknown version")));
        }
        Ok(Self {
            quick,
            machine: Machine {
                system: system.unwrap_or("unknown").trim_matches('"').to_owned(),
                kernel: kernel.trim().to_owned(),
                cpus: std::thread::available_parallelism().map_or(0, usize::from),
                tools,
            },
            seconds: 0.0,
            figures: Vec::new(),
            tables: Vec::new(),
        })
    }

    /// Adds the median of some samples.
    pub(crate) fn figure(
        &mut self,
        id: &'static str,
        title: impl Into<String>,
        samples: &[f64],
        unit: &'static str,
        goal: Goal,
    ) {
        let value = median(samples);
        let met = match goal {
            Goal::AtMost(limit) => Some(value <= limit),
            Goal::AtLeast(limit) => Some(value >= limit),
            Goal::None => None,
        };
        let samples = samples.to_vec();
        self.figures.push(Figure { id, title: title.into(), value, unit, goal, met, samples });
    }

    /// Adds a table.
    pub(crate) fn table(
        &mut self,
        id: &'static str,
        title: impl Into<String>,
        columns: &[&'static str],
        rows: Vec<Vec<String>>,
    ) {
        self.tables.push(Table { id, title: title.into(), columns: columns.to_vec(), rows });
    }

    /// The tables as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!(
            "{}{} ({} CPUs, Linux {}; {}), {:.0} s for the whole bench.\n",
            if self.quick { "**Quick run: small data, says little about speed.** " } else { "" },
            self.machine.system,
            self.machine.cpus,
            self.machine.kernel,
            self.machine.tools.join(", "),
            self.seconds,
        );
        text.push_str("\n| | Measured | Goal | |\n|---|---|---|---|\n");
        for figure in &self.figures {
            let goal = match figure.goal {
                Goal::AtMost(limit) => format!("≤ {limit}"),
                Goal::AtLeast(limit) => format!("≥ {limit}"),
                Goal::None => String::new(),
            };
            let met = match figure.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            // A bar would end the cell, even in a code span.
            let title = figure.title.replace('|', "\\|");
            let (value, unit) = (shown(figure.value), figure.unit);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {title} | {value} {unit} | {goal} | {met} |");
        }
        for table in &self.tables {
            let _ = write!(text, "\n{}\n\n| {} |\n|", table.title, table.columns.join(" | "));
            text.push_str(&"---|".repeat(table.columns.len()));
            text.push('\n');
            for row in &table.rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
        text
    }

    /// Puts the tables between the markers of a document.
    pub(crate) fn write_docs(&self, file: &Path) -> Result<()> {
        let old = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let (before, rest) =
            old.split_once(BEGIN).with_context(|| format!("{} has no {BEGIN}", file.display()))?;
        let (_, after) =
            rest.split_once(END).with_context(|| format!("{} has no {END}", file.display()))?;
        let tables = self.to_markdown();
        fs::write(file, format!("{before}{BEGIN}\n{tables}{END}{after}"))?;
        Ok(())
    }
}

/// A number with as many decimals as it bears.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
