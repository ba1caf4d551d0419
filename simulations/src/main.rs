//! `simulate --scenario village --nodes 200 --seed 7`: one run, its numbers and its trace.

use anyhow::{Context, ensure};
use clap::Parser;
use simulations::scenarios;

/// Runs one deterministic world and checks what must hold in it.
#[derive(Parser)]
struct Args {
    /// Which world: `village` or `split`.
    #[arg(long, default_value = "village")]
    scenario: String,
    /// How many nodes.
    #[arg(long, default_value_t = 200)]
    nodes: usize,
    /// Everything in the run follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let Args { scenario, nodes, seed } = Args::parse();
    let found = scenarios::find(&scenario).with_context(|| {
        let names: Vec<&str> = scenarios::ALL.iter().map(|known| known.name).collect();
        format!("no scenario {scenario}; there are: {}", names.join(", "))
    })?;
    ensure!((2..=20_000).contains(&nodes), "between 2 and 20000 nodes, not {nodes}");
    let (report, checked) = found.run(nodes, seed);
    println!("scenario  {scenario}, {nodes} nodes, seed {seed}");
    println!("trace     {}", report.trace);
    match report.converged_ms {
        Some(at) => println!("converged {at} ms, {} items each", report.items),
        None => println!("converged never"),
    }
    let counts = report.counts;
    println!("events    {}", report.events);
    println!("frames    {}, {} bytes a node", counts.frames, counts.bytes / nodes as u64);
    println!("faults    {} lost, {} cut, {} dropped", counts.lost, counts.cut, counts.dropped);
    checked.with_context(|| {
        format!("repeat it with: simulate --scenario {scenario} --nodes {nodes} --seed {seed}")
    })
}
