//! Admission as one package grows: the rules look at all statements of a package, so one more
//! release costs what the package holds.

use crate::Outcome;
use crate::cost::{Cost, costed};
use crate::figures::{Options, Report};
use crate::realm::{Growing, lines};

/// Releases of a batch that only fills.
const FILL: u64 = 1_000;

/// Grows a package, and measures at each size.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome {
    let home = tempfile::tempdir()?;
    let growing = Growing::new(home.path()).await?;
    let sizes: &[u64] = options.size(&[5, 20][..], &[5, 100, 1_000], &[5, 100, 1_000, 10_000]);
    let rounds = options.size(1, 15, 15);
    let mut held = 0;
    for size in sizes {
        while held < *size {
            let end = (*size).min(held + FILL);
            let batch = (held..end).map(|number| growing.realm.filler(0, number)).collect();
            growing.store.admit(batch, None).await?;
            held = end;
        }
        let mut taken = Vec::new();
        for _ in 0..rounds {
            let release = vec![growing.realm.release(0, held)];
            held += 1;
            let (cost, done) = costed(growing.store.admit(release, None)).await?;
            assert_eq!(done?.new.len(), 1, "it is new");
            taken.push(cost);
        }
        let name = format!("admit: one more release of a package of {size}");
        lines(&name, Cost::median(&taken), report);
    }
    Ok(())
}
