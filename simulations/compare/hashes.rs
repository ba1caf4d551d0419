//! `hash-bytes COUNT`: hashes so many bytes with the four that an upload by npm needs.
//!
//! What a promise calls "its hashes" is what this costs on the same machine in the same run: the
//! crates and the size of the pieces are the node's. It prints nothing; whoever starts it measures
//! it. Source: DESIGN.md section 9.

use anyhow::{Context, bail};
use sha2::Digest as _;

/// Bytes that are hashed in one go.
const PIECE_BYTES: usize = 64 << 10;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [count] = words.as_slice() else { bail!("usage: hash-bytes COUNT") };
    let mut left: usize = count.parse().context("COUNT is a number of bytes")?;
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    let (mut first, mut second) = (blake3::Hasher::new(), sha2::Sha256::new());
    let (mut third, mut fourth) = (sha2::Sha512::new(), sha1::Sha1::new());
    while left > 0 {
        let part = &piece[..left.min(PIECE_BYTES)];
        first.update(part);
        second.update(part);
        third.update(part);
        fourth.update(part);
        left -= part.len();
    }
    let ends = (first.finalize(), second.finalize(), third.finalize(), fourth.finalize());
    std::hint::black_box(ends);
    Ok(())
}
