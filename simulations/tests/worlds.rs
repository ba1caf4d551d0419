//! Small worlds in every test run; large ones by `simulate`.

use std::process::Command;

use simulations::checkers::Broken;
use simulations::scenarios::{self, ALL};
use simulations::{Fault, Scenario, Weather};

/// Nodes and statements of a small world: what a debug build plays in about a second.
fn small(scenario: &Scenario) -> (Scenario, usize) {
    match scenario.name {
        "ship" => (scenario.publishing(60), 4),
        "classroom" => (scenario.publishing(12), 12),
        "courier" => (*scenario, 21),
        _ => (*scenario, 40),
    }
}

#[test]
fn every_scenario_holds_from_several_seeds() {
    for scenario in ALL {
        let (small, nodes) = small(scenario);
        for seed in 1..4 {
            let (report, checked) = small.run(nodes, seed);
            assert_eq!(checked, Ok(()), "{} seed {seed}:\n{report}", scenario.name);
            assert!(report.views > 0 && report.items > 10, "{report}");
        }
    }
}

#[test]
fn one_seed_gives_one_trace_and_one_report() {
    for scenario in ALL {
        let (small, nodes) = small(scenario);
        let nodes = nodes.min(20);
        let (first, _) = small.run(nodes, 7);
        let (again, _) = small.run(nodes, 7);
        let (other, _) = small.run(nodes, 8);
        assert_eq!(first, again);
        assert_ne!(first.trace, other.trace, "{}", scenario.name);
    }
}

#[test]
fn a_declared_fault_that_cannot_fire_fails_the_run() {
    let calm = scenarios::find("split").unwrap().under(Weather::default());
    assert_eq!(calm.run(20, 1).1, Err(Broken::Idle(Fault::Loss)));
}

#[test]
fn every_kind_of_fault_is_declared_by_some_scenario() {
    let declared: Vec<Fault> = ALL.iter().flat_map(|one| one.faults).copied().collect();
    for fault in Fault::ALL {
        assert!(declared.contains(&fault), "nobody shows {fault}");
    }
}

fn simulate(args: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_simulate")).args(args).output().expect("it runs");
    (out.status.success(), String::from_utf8(out.stdout).expect("it prints text"))
}

#[test]
fn the_command_lists_replays_and_speaks_json() {
    let (listed, list) = simulate(&["--list"]);
    assert!(listed);
    for scenario in ALL {
        assert!(list.lines().any(|line| line.starts_with(scenario.name)), "{list}");
    }
    let args = ["--scenario", "courier", "--nodes", "9", "--seed", "7"];
    let (first, again) = (simulate(&args), simulate(&args));
    assert!(first.0, "{}", first.1);
    assert_eq!(first, again);
    let json = simulate(&[&args[..], &["--json"]].concat()).1;
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(first.1.contains(report["trace"].as_str().unwrap()));
    assert_eq!(report["scenario"], "courier");
    assert!(report["faults"]["loss"].as_u64() > Some(0));
    assert!(!simulate(&["--scenario", "nowhere"]).0);
    assert!(!simulate(&["--nodes", "3"]).0);
}
