//! `griot verify --index`: the index computed anew from its statements, with its steps told.
//!
//! One at a time with `griot verify`, whose background run gives way as it does for a person's.
//! What differed is mended as it is found, so one that is cut leaves nothing to go on with: the
//! next begins at the beginning. Does not read blobs: see `run`.
//!
//! Source: index.md section 7.6.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::{Error, Registry};
use super::run::TELL_EVERY;
use crate::store::rebuild::{Difference, DifferenceEnd, RebuildCourse, RebuildOrder};

/// Differences that are told one by one; of the rest only how many there are.
const DIFFERENCES_MAX: usize = 200;

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexVerified {
    /// What was compared.
    pub course: RebuildCourse,
    /// How many rows differed and were mended, by their table.
    pub mended: BTreeMap<String, u64>,
    /// Statements and signatures that were none and have gone, by their table.
    pub lost: BTreeMap<String, u64>,
    /// The first of both.
    pub differences: Vec<Difference>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexStep {
    /// How far it is.
    At(RebuildCourse),
    /// Something differed.
    Found(Difference),
    /// The end.
    Done(IndexVerified),
}

impl Registry {
    /// Computes all that follows from statements anew, and mends what differs.
    ///
    /// # Errors
    /// Conflict while another verification is under way; when the store fails, or nobody listens
    /// any more.
    pub async fn verify_index(
        &self,
        order: RebuildOrder,
        steps: &mpsc::Sender<IndexStep>,
    ) -> Result<(), Error> {
        let _alone = self.alone(true).await?;
        let (mut rebuild, mut told) = (self.inner.store.rebuild(order)?, Instant::now());
        let mut verified = IndexVerified::default();
        while let Some(found) = rebuild.step().await? {
            for difference in found {
                tracing::error!(table = difference.table, what = difference.what, "it differed");
                if verified.count(&difference) {
                    tell(steps, IndexStep::Found(difference)).await?;
                }
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                tell(steps, IndexStep::At(rebuild.course())).await?;
            }
        }
        verified.course = rebuild.course();
        tell(steps, IndexStep::Done(verified)).await
    }
}

impl IndexVerified {
    /// Says whether it is among the first.
    fn count(&mut self, difference: &Difference) -> bool {
        let ends = match difference.end {
            DifferenceEnd::Mended => &mut self.mended,
            DifferenceEnd::Lost => &mut self.lost,
        };
        *ends.entry(difference.table.clone()).or_default() += 1;
        let is_told = self.differences.len() < DIFFERENCES_MAX;
        if is_told {
            self.differences.push(difference.clone());
        }
        is_told
    }
}

async fn tell(steps: &mpsc::Sender<IndexStep>, step: IndexStep) -> Result<(), Error> {
    steps.send(step).await.map_err(|_| Error::invalid("nobody listens any more"))
}
