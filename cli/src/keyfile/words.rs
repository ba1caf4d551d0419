//! Words instead of digits: 24 that are a key, for paper, and 12 that check an id, for the phone.
//!
//! Both are of the English list of BIP 39. The 24 words hold a 32-byte seed and eight bits of
//! checksum: one wrong word is found with 255 of 256. The 12 words are not an id and lead back to
//! none: they are 16 bytes derived from it, so that two people can compare ids aloud.
//!
//! Source: trust.md sections 3 and 17.

use bip39::{Language, Mnemonic};
use crdt::{Digest, SecretKey};
use zeroize::Zeroizing;

use crate::output::{Code, Failure};

/// Words of a key.
const KEY_WORDS: usize = 24;
/// What the twelve words are derived by.
const CHECK_CONTEXT: &str = "griot 2026 twelve words v1";

/// The key as words, to be written on paper.
pub(crate) fn of_key(key: &SecretKey) -> Result<Zeroizing<String>, Failure> {
    let seed = Zeroizing::new(key.seed());
    let words = Mnemonic::from_entropy_in(Language::English, seed.as_ref())
        .map_err(|error| Failure::new(format!("the key has no words: {error}")))?;
    Ok(Zeroizing::new(words.words().collect::<Vec<_>>().join(" ")))
}

/// The key that the words are.
pub(crate) fn to_key(text: &str) -> Result<SecretKey, Failure> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let wrong = |why: String| {
        Failure::new(why)
            .hint("type the 24 words in their order, with a space between two")
            .code(Code::Usage)
    };
    if words.len() != KEY_WORDS {
        return Err(wrong(format!("these are {} words and not {KEY_WORDS}", words.len())));
    }
    let text = Zeroizing::new(words.join(" "));
    let parsed =
        Mnemonic::parse_in_normalized(Language::English, &text).map_err(|error| match error {
            bip39::Error::UnknownWord(at) => wrong(format!("word {} is none of the list", at + 1)),
            _ => wrong("the words do not belong together: one of them is wrong".into()),
        })?;
    let entropy = Zeroizing::new(parsed.to_entropy());
    let seed: Result<[u8; 32], _> = entropy.as_slice().try_into();
    let seed = seed.map(Zeroizing::new).map_err(|_| wrong("the words are no key".into()))?;
    Ok(SecretKey::from_seed(&seed))
}

/// Twelve words that two people compare instead of the digits of an id.
pub(crate) fn check(id: &Digest) -> String {
    let hash = blake3::Hasher::new_derive_key(CHECK_CONTEXT).update(id.as_bytes()).finalize();
    let words = Mnemonic::from_entropy_in(Language::English, &hash.as_bytes()[..16]);
    words.map(|words| words.words().collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_words() {
        let key = SecretKey::from_seed(&[7; 32]);
        let words = of_key(&key).unwrap();
        assert_eq!(words.split(' ').count(), 24);
        assert_eq!(to_key(&words).unwrap().seed(), key.seed());
        let written = format!(" {}\n", words.replace(' ', "\n ").to_uppercase());
        assert_eq!(to_key(&written).unwrap().seed(), key.seed());
    }

    #[test]
    fn a_wrong_word_is_found_and_named() {
        let words = of_key(&SecretKey::from_seed(&[7; 32])).unwrap();
        let (first, rest) = words.split_once(' ').unwrap();
        let failure = to_key(&format!("{rest} nosuchword")).unwrap_err();
        assert!(failure.message.contains("word 24"), "{failure:?}");
        let other = if first == "zoo" { "abandon" } else { "zoo" };
        let swapped = to_key(&format!("{other} {rest}")).err();
        assert!(swapped.is_some_and(|failure| failure.message.contains("one of them is wrong")));
        assert!(to_key(rest).unwrap_err().message.contains("23 words"));
    }

    #[test]
    fn twelve_words_check_an_id_and_differ_for_another() {
        let words = check(&Digest::of(b"one"));
        assert_eq!(words.split(' ').count(), 12);
        assert_eq!(words, check(&Digest::of(b"one")));
        assert_ne!(words, check(&Digest::of(b"two")));
    }
}
