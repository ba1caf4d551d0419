//! What links may cost: who is asked before bytes move, and what waits and why.
//!
//! The allowances are rows that a person sets; what was used is the ledger's. A transfer must fit
//! every allowance that its link is meant by. What two transfers at once use is seen only when it
//! has passed, so a budget is overrun by at most what was in the air. What waits is remembered for
//! `griot status`, in memory, in bounded number.
//!
//! Source: DESIGN section 6.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crdt::Digest;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Error;
use super::allowance::{Allowance, Links, Verdict};
use super::calendar::Moment;
use super::lane::Lane;
use super::ledger::{Ledger, Traffic};
use super::link::LinkClass;
use super::meter::{Count, Meter};
use crate::store::Store;

/// The kind of the rows. Key: the links; value: the allowance.
pub(super) const BUDGET: &str = "budget";
/// Allowances that a person may set.
const ALLOWANCES_MAX: usize = 256;
/// Transfers that are remembered while they wait.
const WAITING_MAX: usize = 4096;

/// A transfer that nobody has asked for again for so long waits no more.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// A transfer that waits.
#[derive(Debug, Clone)]
struct Waiting {
    lane: Lane,
    bytes: u64,
    why: String,
    /// When it was last asked for.
    asked: Instant,
}

#[derive(Debug, Default)]
struct State {
    allowances: BTreeMap<Links, Allowance>,
    links: HashMap<PeerId, LinkClass>,
    waiting: HashMap<Digest, Waiting>,
    /// The system says that the way out is metered.
    system: bool,
}

/// What links may cost; clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    store: Store,
    ledger: Ledger,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

/// An allowance, and how far it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// What is allowed.
    #[serde(flatten)]
    pub allowance: Allowance,
    /// What passed in the month or day that it counts in; in the month if it counts in none.
    pub used: Count,
}

/// Transfers that wait for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How urgent they are.
    pub lane: Lane,
    /// How many.
    pub files: u64,
    /// All together.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

/// `griot budget show --json`, but for the traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// What is allowed, and how far it is used.
    pub budgets: Vec<Used>,
    /// What waits.
    pub waiting: Vec<Waits>,
    /// Whether this machine's clock can be right: without it a month is thirty days of running.
    pub clock: bool,
    /// Whether the system says that the way out of this network is metered.
    #[serde(default)]
    pub system: bool,
}

impl Budget {
    /// Reads what is allowed and what was used.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn open(store: Store, meter: Meter) -> Result<Self, Error> {
        let mut state = State::default();
        for (key, value) in store.rows(BUDGET)? {
            match serde_json::from_slice::<Allowance>(&value) {
                Ok(allowance) => drop(state.allowances.insert(allowance.links.clone(), allowance)),
                Err(error) => tracing::warn!(key, %error, "a remembered budget is not one"),
            }
        }
        let ledger = Ledger::open(store.clone(), meter)?;
        let state = Arc::new(Mutex::new(state));
        Ok(Self { store, ledger, state, changed: watch::Sender::new(0) })
    }

    /// Writes down what passes, as long as it is polled.
    pub(super) async fn run(self) {
        self.ledger.run().await;
    }

    /// Sets what some links may cost, in place of what was set for them before.
    ///
    /// # Errors
    /// [`Error::Refused`] for more allowances than anybody needs; [`Error::Store`].
    pub async fn set(&self, allowance: Allowance) -> Result<(), Error> {
        let known = self.state().allowances.len();
        if known >= ALLOWANCES_MAX && !self.state().allowances.contains_key(&allowance.links) {
            return Err(Error::Refused(format!("there are {known} budgets: clear one first")));
        }
        let row = serde_json::to_vec(&allowance).map_err(|e| Error::Refused(e.to_string()))?;
        self.store.put_row(BUDGET, &allowance.links.to_string(), row).await?;
        self.state().allowances.insert(allowance.links.clone(), allowance);
        self.has_changed();
        Ok(())
    }

    /// Allows these links everything again. Says whether something was set for them.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn clear(&self, links: &Links) -> Result<bool, Error> {
        let was = self.store.delete_row(BUDGET, &links.to_string()).await?;
        self.state().allowances.remove(links);
        self.has_changed();
        Ok(was)
    }

    fn has_changed(&self) {
        // What waited is judged anew by what is asked again.
        self.state().waiting.clear();
        self.changed.send_modify(|n| *n += 1);
    }

    /// The system says whether the way out of this network is metered.
    pub(super) fn system_says(&self, metered: bool) {
        let before = std::mem::replace(&mut self.state().system, metered);
        if before != metered {
            tracing::info!(metered, "the system says whether the way out is paid for by the byte");
            self.has_changed();
        }
    }

    /// Fires when what is allowed changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether `bytes` may pass between us and a connected peer.
    #[must_use]
    pub fn may(&self, lane: Lane, peer: &PeerId, bytes: u64) -> Verdict {
        self.judge(lane, peer, bytes).0
    }

    /// Whether `bytes` may be given to a connected peer that asks: as bulk, for nobody here waits,
    /// though at any hour, for somebody may there.
    #[must_use]
    pub(super) fn may_serve(&self, peer: &PeerId, bytes: u64) -> Verdict {
        let mut meant = self.meant(peer);
        meant.iter_mut().for_each(|allowance| allowance.hours = None);
        self.judge_by(&meant, (Lane::Bulk, bytes)).0
    }

    fn judge(&self, lane: Lane, peer: &PeerId, bytes: u64) -> (Verdict, String) {
        self.judge_by(&self.meant(peer), (lane, bytes))
    }

    /// What is set for the links to a peer.
    fn meant(&self, peer: &PeerId) -> Vec<Allowance> {
        let (class, name) = (self.class_of(peer), peer.to_string());
        let state = self.state();
        let meant = state.allowances.values().filter(|it| it.links.means(class, &name));
        meant.cloned().collect()
    }

    /// The strictest verdict of all.
    fn judge_by(&self, meant: &[Allowance], what: (Lane, u64)) -> (Verdict, String) {
        let now = (Verdict::Now, String::new());
        if meant.is_empty() {
            return now;
        }
        let moment = Moment::now();
        let judged = meant.iter().map(|allowance| {
            let used = self.used(allowance, &moment).map_or(0, |used| used.bytes());
            allowance.judge(what, used, &moment)
        });
        judged.max_by_key(|(verdict, _)| strictness(verdict)).unwrap_or(now)
    }

    fn used(&self, allowance: &Allowance, moment: &Moment) -> Result<Count, Error> {
        let unit = allowance.amount.map_or(super::calendar::Unit::Month, |amount| amount.per);
        let links = &allowance.links;
        self.ledger.used(unit, moment, |class, peer| links.means(class, peer))
    }

    /// Of the peers that a blob may be fetched from those that it may cost something at; if none
    /// is left for that reason alone, why.
    pub(super) fn choose(
        &self,
        lane: Lane,
        (digest, bytes): (Digest, u64),
        peers: Vec<PeerId>,
    ) -> Result<Vec<PeerId>, String> {
        let (mut allowed, mut reason) = (Vec::new(), None);
        for peer in peers {
            match self.judge(lane, &peer, bytes) {
                (Verdict::Now, _) => allowed.push(peer),
                (_, why) => reason = Some(why),
            }
        }
        match reason {
            Some(why) => {
                let asked = Instant::now();
                self.note(digest, Waiting { lane, bytes, why: why.clone(), asked });
                if allowed.is_empty() { Err(why) } else { Ok(allowed) }
            }
            None => {
                self.came(&digest);
                Ok(allowed)
            }
        }
    }

    fn note(&self, digest: Digest, waiting: Waiting) {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX && !state.waiting.contains_key(&digest) {
            return;
        }
        state.waiting.insert(digest, waiting);
    }

    /// A blob is here, or may be fetched: it waits no longer.
    pub(super) fn came(&self, digest: &Digest) {
        self.state().waiting.remove(digest);
    }

    /// Why a blob waits.
    pub(super) fn why(&self, digest: &Digest) -> Option<String> {
        self.state().waiting.get(digest).map(|waiting| waiting.why.clone())
    }

    /// A peer is connected from or at this address.
    pub(super) fn arrive(&self, peer: PeerId, address: &Multiaddr) {
        self.state().links.insert(peer, LinkClass::of(address));
    }

    /// Its last connection is gone.
    pub(super) fn leave(&self, peer: &PeerId) {
        self.state().links.remove(peer);
    }

    fn class_of(&self, peer: &PeerId) -> LinkClass {
        self.state().links.get(peer).copied().unwrap_or(LinkClass::Wan)
    }

    /// Whether each byte to and from a connected peer is paid for.
    pub(super) fn is_metered_peer(&self, peer: &PeerId) -> bool {
        self.is_metered_link(peer, self.class_of(peer))
    }

    /// Whether each byte to and from a peer at this address is paid for.
    pub(super) fn is_metered(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        self.is_metered_link(peer, LinkClass::of(address))
    }

    fn is_metered_link(&self, peer: &PeerId, class: LinkClass) -> bool {
        let name = peer.to_string();
        let state = self.state();
        let by_system = state.system && class != LinkClass::Lan;
        let mut allowances = state.allowances.values();
        by_system || allowances.any(|it| it.metered && it.links.means(class, &name))
    }

    /// What is allowed, how far it is used, and what waits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn show(&self) -> Result<Budgets, Error> {
        let moment = Moment::now();
        let allowances: Vec<Allowance> = self.state().allowances.values().cloned().collect();
        let mut budgets = Vec::new();
        for allowance in allowances {
            let used = self.used(&allowance, &moment)?;
            budgets.push(Used { allowance, used });
        }
        self.forget_what_came();
        let mut waiting: BTreeMap<(Lane, String), (u64, u64)> = BTreeMap::new();
        for one in self.state().waiting.values() {
            let sum = waiting.entry((one.lane, one.why.clone())).or_default();
            *sum = (sum.0 + 1, sum.1.saturating_add(one.bytes));
        }
        let waits = |((lane, why), (files, bytes))| Waits { lane, files, bytes, why };
        let waiting = waiting.into_iter().map(waits).collect();
        let system = self.state().system;
        Ok(Budgets { budgets, waiting, clock: moment.is_trusted(), system })
    }

    /// What came from elsewhere meanwhile, or is asked for no more, waits no longer.
    fn forget_what_came(&self) {
        let lacks = |digest: &Digest| self.store.blob(digest).is_ok_and(|held| held.is_none());
        let recent = |waiting: &Waiting| waiting.asked.elapsed() < ASKED_MAX;
        self.state().waiting.retain(|digest, waiting| recent(waiting) && lacks(digest));
    }

    /// What the links have cost, by day and by month.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn traffic(&self) -> Result<Vec<Traffic>, Error> {
        self.ledger.history()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn strictness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Now => 0,
        Verdict::Wait(_) => 1,
        Verdict::Never(_) => 2,
    }
}
