//! A rateless sketch of a set: what two sets lack from each other, in bytes that grow with the
//! difference alone.
//!
//! One side, the streamer, sends cells of an endless sequence; the other, the receiver, takes its
//! own cells from them and peels what is left until nothing is. Each cell is the XOR of some items,
//! so what both sides have cancels out:
//!
//! ```text
//!  streamer: items ─▶ Sketch ── cells ──▶ Peeler ◀─ Sketch ◀─ items :receiver
//!                                            │
//!                                            ▼
//!                        items that only the streamer, and only the receiver has
//! ```
//!
//! Items are short ids under a key drawn for the conversation: see [`short_id`](crate::reconcile).
//! Cells come from a stranger. What they can bring about is bounded: each item is recovered once,
//! never more items than cells, and only such as the receiver has, or has not, as the sign says.
//!
//! Does not decide when a difference is too large for this: see [`session`](crate::session).
//!
//! Source: "Practical Rateless Set Reconciliation" (Yang, Gilad, Alizadeh, 2024); index.md section
//! 7.

mod cell;
mod encode;
mod mapping;
mod peel;
mod slots;
#[cfg(test)]
mod tests;

pub use cell::{CELL_BYTES, Cell};
pub use encode::Sketch;
pub use mapping::mix;
pub use peel::{Breach, Peeler, Side};
pub use slots::{Slot, Slots};
