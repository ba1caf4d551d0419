//! Small worlds in every test run; large ones by `simulate`.

use simulations::checkers::{self, Broken, Faults};
use simulations::scenarios::{self, Scenario};

#[test]
fn every_scenario_converges_from_several_seeds() {
    for scenario in scenarios::ALL {
        for seed in 1..6 {
            let (report, checked) = scenario.run(60, seed);
            assert_eq!(checked, Ok(()), "{} seed {seed}: {report:?}", scenario.name);
        }
    }
}

#[test]
fn one_seed_gives_one_trace() {
    for scenario in scenarios::ALL {
        let (first, _) = scenario.run(40, 7);
        let (again, _) = scenario.run(40, 7);
        let (other, _) = scenario.run(40, 8);
        assert_eq!(first, again);
        assert_ne!(first.trace, other.trace);
    }
}

#[test]
fn a_fault_that_never_fires_fails_the_run() {
    let quiet = Scenario { loss_per_mille: 0, ..*scenarios::find("village").unwrap() };
    let (report, checked) = quiet.run(20, 1);
    assert_eq!(checked, Ok(()));
    let partition = Faults { loss: false, partition: true };
    let idle = checkers::check(&report, &[], partition, u64::MAX);
    assert_eq!(idle, Err(Broken::Idle("the partition")));
}

#[test]
fn a_partition_that_never_heals_in_time_is_noticed() {
    let parted =
        Scenario { partition_ms: Some((500, 1_000_000)), ..*scenarios::find("split").unwrap() };
    let (_, checked) = parted.run(40, 1);
    assert_eq!(checked, Err(Broken::NotConverged));
}
