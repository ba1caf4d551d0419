//! A small tree of a YAML text, with lines, for what pnpm and berry write.
//!
//! Made from the parser's events, so that depth and size are bounded before anything is built;
//! aliases, with which a small text becomes a huge tree, are refused: no client writes them.
//! Every scalar is text: a version such as 1.10 must not become a number.
//!
//! Source: YAML 1.2.2; the crate saphyr-parser.

use saphyr_parser::{Event, Parser};

use crate::formats::lockfile::LockError;

/// Levels of a tree; clients write five.
const DEPTH_MAX: usize = 64;
/// Scalars, lists and maps of a text; a lockfile of 10,000 packages has about 300,000.
const NODES_MAX: usize = 4_000_000;

/// A part of a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    List(Vec<Self>),
    Map(Vec<Pair>),
}

/// A key with its line, and its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().iter().find(|pair| pair.key == key).map(|pair| &pair.value)
    }

    /// The text under a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// Its keys and values; none for what is no map.
    pub(super) fn pairs(&self) -> &[Pair] {
        match self {
            Self::Map(pairs) => pairs,
            _ => &[],
        }
    }
}

/// What is open while a tree is built.
enum Open {
    List(Vec<Node>),
    Map { pairs: Vec<Pair>, key: Option<(String, usize)> },
}

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, LockError> {
    let mut open: Vec<Open> = Vec::new();
    let mut done = Vec::new();
    let mut nodes = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|error| LockError::at(error.marker().line(), error.info().to_string()))?;
        let line = span.start.line();
        let node = match event {
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                bounded(open.len(), line)?;
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map { pairs: Vec::new(), key: None });
                bounded(open.len(), line)?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Node::List(list),
                Some(Open::Map { pairs, .. }) => Node::Map(pairs),
                None => continue,
            },
            Event::Alias(_) => return Err(LockError::at(line, "an alias, which no client writes")),
            _ => continue,
        };
        nodes += 1;
        if nodes > NODES_MAX {
            return Err(LockError::at(line, format!("more than {NODES_MAX} values")));
        }
        match open.last_mut() {
            Some(parent) => parent.take(node, line)?,
            None => done.push(node),
        }
    }
    Ok(done)
}

fn bounded(depth: usize, line: usize) -> Result<(), LockError> {
    if depth > DEPTH_MAX {
        return Err(LockError::at(line, format!("more than {DEPTH_MAX} levels")));
    }
    Ok(())
}

impl Open {
    fn take(&mut self, node: Node, line: usize) -> Result<(), LockError> {
        match self {
            Self::List(list) => list.push(node),
            Self::Map { pairs, key } => match (key.take(), node) {
                (Some((key, line)), value) => pairs.push(Pair { key, line, value }),
                (None, Node::Text(text)) => *key = Some((text, line)),
                (None, _) => return Err(LockError::at(line, "a key that is no text")),
            },
        }
        Ok(())
    }
}
