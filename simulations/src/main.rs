//! `simulate --scenario village --nodes 200 --seed 7`: one run, its numbers and its trace.
//!
//! Standard output is the same in every run of one seed; how long it took and how much memory it
//! needed goes to standard error.

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use simulations::scenarios;

/// Runs one deterministic world and checks what must hold in it.
#[derive(Parser)]
struct Args {
    /// Which world; `--list` names them.
    #[arg(long, default_value = "village")]
    scenario: String,
    /// How many nodes; each scenario has its own number if nobody says.
    #[arg(long)]
    nodes: Option<usize>,
    /// Everything in the run follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Say which scenarios there are, and end.
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<()> {
    let Args { scenario, nodes, seed, json, list } = Args::parse();
    if list {
        for known in scenarios::ALL {
            println!("{:<10} {:>4} nodes  {}", known.name, known.nodes, known.about);
        }
        return Ok(());
    }
    let found = scenarios::find(&scenario).with_context(|| {
        let names: Vec<&str> = scenarios::ALL.iter().map(|known| known.name).collect();
        format!("no scenario {scenario}; there are: {}", names.join(", "))
    })?;
    let nodes = nodes.unwrap_or(found.nodes);
    ensure!((4..=20_000).contains(&nodes), "between 4 and 20000 nodes, not {nodes}");
    let began = Instant::now();
    let (report, checked) = found.run(nodes, seed);
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{report}"),
    }
    let took = began.elapsed().as_secs_f64();
    eprintln!("took      {took:.1} s, {} MiB at the most", peak_mib().unwrap_or_default());
    checked.with_context(|| {
        format!("repeat it with: simulate --scenario {scenario} --nodes {nodes} --seed {seed}")
    })
}

/// The most memory that this process had resident, where the system says so.
fn peak_mib() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
