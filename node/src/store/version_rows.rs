//! The row of one version of a view: most of what a store of releases is made of.
//!
//! Arrays without names, digests and keys as their bytes, the served content as the place of a
//! candidate: a third of what serde's data model makes of the same. Numbers of states are written
//! down, so they are never given anew; who changes the layout raises
//! [`super::views::FOLD_VERSION`].
//!
//! Strict in reading: a row that was not written by [`encode`] is an error, never half a view.

use std::collections::BTreeMap;

use crdt::derive::{Candidate, FileView, SlotState, VersionView};
use crdt::statement::{BlobRef, Meta, MetaBody};
use crdt::{Checksums, Content, Digest, PublicKey, StatementId};
use minicbor::data::Type;
use minicbor::decode::Error as Unreadable;
use minicbor::{Decoder, Encoder};

use super::Error;

type Out = Encoder<Vec<u8>>;
type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;
type Read<T> = Result<T, Unreadable>;

/// The row of a version.
pub(super) fn encode(view: &VersionView) -> Result<Vec<u8>, Error> {
    let mut out = Encoder::new(Vec::with_capacity(256));
    write(&mut out, view).map_err(|why| Error::unreadable("view of a version", why))?;
    Ok(out.into_writer())
}

/// The version of a row.
pub(super) fn decode(row: &[u8]) -> Result<VersionView, Error> {
    let mut input = Decoder::new(row);
    let view = read(&mut input).and_then(|view| match input.position() == row.len() {
        true => Ok(view),
        false => Err(Unreadable::message("there is more")),
    });
    view.map_err(|why| Error::unreadable("view of a version", why))
}

fn write(out: &mut Out, view: &VersionView) -> Written {
    let VersionView {
        state,
        written,
        files,
        releases,
        yanked,
        claimed_time,
        extras,
        withdrawn_others,
    } = view;
    out.array(8)?.u8(number(*state))?.str(written)?.array(files.len() as u64)?;
    for (name, file) in files {
        out.array(4)?.str(name)?;
        write_file(out, file)?;
    }
    write_ids(out, releases)?;
    match yanked {
        Some(reason) => out.str(reason)?,
        None => out.null()?,
    };
    out.u64(*claimed_time)?;
    match extras {
        Some(blob) => write_blob(out, blob)?,
        None => drop(out.null()?),
    }
    out.bool(*withdrawn_others)?;
    Ok(())
}

fn write_file(out: &mut Out, file: &FileView) -> Written {
    out.u8(number(file.state))?;
    let is_served = |found: &Candidate| Some(&found.content) == file.serves.as_ref();
    match (&file.serves, file.candidates.iter().position(is_served)) {
        (_, Some(place)) => drop(out.u64(place as u64)?),
        (Some(pinned), None) => write_content(out, pinned)?,
        (None, None) => drop(out.null()?),
    }
    out.array(file.candidates.len() as u64)?;
    for candidate in &file.candidates {
        let Candidate { content, signers, releases, sealed, meta } = candidate;
        out.array(5)?;
        write_content(out, content)?;
        out.array(signers.len() as u64)?;
        for key in signers {
            out.bytes(key.as_bytes())?;
        }
        write_ids(out, releases)?;
        out.bool(*sealed)?;
        match meta {
            Some(meta) => write_meta(out, meta)?,
            None => drop(out.null()?),
        }
    }
    Ok(())
}

fn write_ids(out: &mut Out, ids: &[StatementId]) -> Written {
    out.array(ids.len() as u64)?;
    for id in ids {
        out.bytes(id.0.as_bytes())?;
    }
    Ok(())
}

fn write_content(out: &mut Out, content: &Content) -> Written {
    let Content { size, blake3, checksums } = content;
    let Checksums { sha256, sha512, sha1, md5 } = checksums;
    out.array(6)?.u64(*size)?.bytes(blake3.as_bytes())?.bytes(sha256)?;
    let others = [sha512.as_ref().map(<[u8; 64]>::as_slice), sha1.as_ref().map(|sum| &sum[..])];
    for sum in others.into_iter().chain([md5.as_ref().map(|sum| &sum[..])]) {
        match sum {
            Some(sum) => out.bytes(sum)?,
            None => out.null()?,
        };
    }
    Ok(())
}

fn write_meta(out: &mut Out, meta: &Meta) -> Written {
    out.array(3)?.str(&meta.extractor)?.u32(meta.version)?;
    match &meta.body {
        MetaBody::Inline(bytes) => drop(out.bytes(bytes)?),
        MetaBody::Blob(blob) => write_blob(out, blob)?,
    }
    Ok(())
}

fn write_blob(out: &mut Out, blob: &BlobRef) -> Written {
    out.array(2)?.bytes(blob.digest.as_bytes())?.u64(blob.size)?;
    Ok(())
}

fn read(input: &mut Decoder<'_>) -> Read<VersionView> {
    array(input, 8)?;
    let state = state(input)?;
    let written = input.str()?.to_owned();
    let mut files = BTreeMap::new();
    for _ in 0..length(input)? {
        array(input, 4)?;
        files.insert(input.str()?.to_owned(), read_file(input)?);
    }
    Ok(VersionView {
        state,
        written,
        files,
        releases: read_ids(input)?,
        yanked: option(input, |input| Ok(input.str()?.to_owned()))?,
        claimed_time: input.u64()?,
        extras: option(input, read_blob)?,
        withdrawn_others: input.bool()?,
    })
}

fn read_file(input: &mut Decoder<'_>) -> Read<FileView> {
    let state = state(input)?;
    let (place, pinned) = match input.datatype()? {
        Type::Null => (None, option(input, read_content)?),
        Type::Array => (None, Some(read_content(input)?)),
        _ => (Some(input.u64()?), None),
    };
    let mut candidates = Vec::new();
    for _ in 0..length(input)? {
        candidates.push(read_candidate(input)?);
    }
    let serves = match place.map(usize::try_from) {
        None => pinned,
        Some(place) => {
            let found: Option<&Candidate> = place.ok().and_then(|place| candidates.get(place));
            Some(found.ok_or_else(|| Unreadable::message("no such candidate"))?.content.clone())
        }
    };
    Ok(FileView { state, serves, candidates })
}

fn read_candidate(input: &mut Decoder<'_>) -> Read<Candidate> {
    array(input, 5)?;
    let content = read_content(input)?;
    let mut signers = Vec::new();
    for _ in 0..length(input)? {
        let key = PublicKey::admit(input.bytes()?);
        signers.push(key.map_err(|why| Unreadable::message(why.to_string()))?);
    }
    Ok(Candidate {
        content,
        signers,
        releases: read_ids(input)?,
        sealed: input.bool()?,
        meta: option(input, read_meta)?,
    })
}

fn read_ids(input: &mut Decoder<'_>) -> Read<Vec<StatementId>> {
    let mut ids = Vec::new();
    for _ in 0..length(input)? {
        ids.push(StatementId(Digest::from_bytes(bytes(input)?)));
    }
    Ok(ids)
}

fn read_content(input: &mut Decoder<'_>) -> Read<Content> {
    array(input, 6)?;
    Ok(Content {
        size: input.u64()?,
        blake3: Digest::from_bytes(bytes(input)?),
        checksums: Checksums {
            sha256: bytes(input)?,
            sha512: option(input, bytes)?,
            sha1: option(input, bytes)?,
            md5: option(input, bytes)?,
        },
    })
}

fn read_meta(input: &mut Decoder<'_>) -> Read<Meta> {
    array(input, 3)?;
    let (extractor, version) = (input.str()?.to_owned(), input.u32()?);
    let body = match input.datatype()? {
        Type::Array => MetaBody::Blob(read_blob(input)?),
        _ => MetaBody::Inline(input.bytes()?.to_vec()),
    };
    Ok(Meta { extractor, version, body })
}

fn read_blob(input: &mut Decoder<'_>) -> Read<BlobRef> {
    array(input, 2)?;
    Ok(BlobRef { digest: Digest::from_bytes(bytes(input)?), size: input.u64()? })
}

const fn number(state: SlotState) -> u8 {
    match state {
        SlotState::Ok => 0,
        SlotState::DisputedPinned => 1,
        SlotState::Disputed => 2,
        SlotState::PinnedUnsupported => 3,
    }
}

fn state(input: &mut Decoder<'_>) -> Read<SlotState> {
    match input.u8()? {
        0 => Ok(SlotState::Ok),
        1 => Ok(SlotState::DisputedPinned),
        2 => Ok(SlotState::Disputed),
        3 => Ok(SlotState::PinnedUnsupported),
        _ => Err(Unreadable::message("no such state")),
    }
}

fn length(input: &mut Decoder<'_>) -> Read<u64> {
    input.array()?.ok_or_else(|| Unreadable::message("an array without a length"))
}

fn array(input: &mut Decoder<'_>, members: u64) -> Read<()> {
    match length(input)? == members {
        true => Ok(()),
        false => Err(Unreadable::message("another number of members")),
    }
}

fn bytes<const N: usize>(input: &mut Decoder<'_>) -> Read<[u8; N]> {
    let bytes = input.bytes()?;
    bytes.try_into().map_err(|_| Unreadable::message("another number of bytes"))
}

fn option<T>(
    input: &mut Decoder<'_>,
    read: impl FnOnce(&mut Decoder<'_>) -> Read<T>,
) -> Read<Option<T>> {
    if input.datatype()? == Type::Null {
        input.null()?;
        return Ok(None);
    }
    read(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(at: u8) -> Content {
        let sum = |some: bool| some.then_some([at; 64]);
        let checksums = Checksums {
            sha256: [at; 32],
            sha512: sum(at.is_multiple_of(2)),
            sha1: at.is_multiple_of(3).then_some([at; 20]),
            md5: at.is_multiple_of(5).then_some([at; 16]),
        };
        Content { size: u64::from(at) << 33, blake3: Digest::of(&[at]), checksums }
    }

    fn candidate(at: u8) -> Candidate {
        let blob = BlobRef { digest: Digest::of(b"meta"), size: 70_000 };
        let body = if at.is_multiple_of(2) {
            MetaBody::Blob(blob)
        } else {
            MetaBody::Inline(vec![b'a' + at; 300])
        };
        let key = crdt::SecretKey::from_seed(&[at + 1; 32]).public();
        Candidate {
            content: content(at),
            signers: vec![key],
            releases: vec![StatementId(Digest::of(&[at, 1])), StatementId(Digest::of(&[at, 2]))],
            sealed: at % 2 == 1,
            meta: (at % 3 != 2).then(|| Meta { extractor: "npm".to_owned(), version: 3, body }),
        }
    }

    fn views() -> Vec<VersionView> {
        let file = |state, serves: Option<u8>, candidates: &[u8]| FileView {
            state,
            serves: serves.map(content),
            candidates: candidates.iter().map(|at| candidate(*at)).collect(),
        };
        let files = [
            ("a.tgz".to_owned(), file(SlotState::Ok, Some(1), &[1])),
            ("b".to_owned(), file(SlotState::Disputed, None, &[2, 3])),
            ("c".to_owned(), file(SlotState::DisputedPinned, Some(5), &[4, 5, 6])),
            ("d".to_owned(), file(SlotState::PinnedUnsupported, Some(9), &[7])),
        ];
        let view = |count: usize, yanked: Option<&str>| VersionView {
            state: files[count - 1].1.state,
            written: "1.0.0-é".to_owned(),
            files: files[..count].iter().cloned().collect(),
            releases: vec![StatementId(Digest::of(b"r")); count],
            yanked: yanked.map(ToOwned::to_owned),
            claimed_time: 1 << 40,
            extras: (count > 1).then(|| BlobRef { digest: Digest::of(b"x"), size: 9 }),
            withdrawn_others: count == 3,
        };
        vec![view(1, None), view(2, Some("")), view(3, Some("broken")), view(4, None)]
    }

    #[test]
    fn every_version_comes_back_as_it_was() {
        for view in views() {
            assert_eq!(decode(&encode(&view).unwrap()).unwrap(), view);
        }
    }

    #[test]
    fn a_row_is_less_than_half_of_what_it_would_be_with_names() {
        let view = &views()[0];
        let named = super::super::tables::encode("view", view).unwrap().len();
        let row = encode(view).unwrap().len();
        assert!(row * 2 < named && row < 700, "{row} and {named}");
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_no_version() {
        for row in views().iter().map(|view| encode(view).unwrap()) {
            for end in 0..row.len() {
                assert!(decode(&row[..end]).is_err(), "{end} of {}", row.len());
            }
            assert!(decode(&[&row[..], &[0]].concat()).is_err());
            for at in 0..row.len() {
                let mut wrong = row.clone();
                wrong[at] ^= 0x81;
                // Another view or an error, but nothing that panics.
                let _ = decode(&wrong);
            }
        }
    }
}
