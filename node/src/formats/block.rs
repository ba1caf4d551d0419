//! A marked block of lines in a text file, and lines that it puts out of force.
//!
//! The marks name the client, so that two clients may share a file. A line that must not stand
//! beside the block is kept behind a mark of its own, and comes back with the block's removal.
//! Everything else keeps its bytes; new lines end as the file's own do.

const BEGIN: &str = "# griot: begin ";
const END: &str = "# griot: end ";
/// Said in the first line of a block that had to end the line before it.
const BROKE: &str = " (after a line break of its own)";
const FORMER: &str = "# griot: was: ";

/// How lines of the text end.
pub(super) fn ending(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Adds a block at `at`, which is the start of a line or the end of the text.
pub(super) fn insert(text: &str, at: usize, client: &str, lines: &[String]) -> String {
    let (before, after) = text.split_at(at);
    let eol = ending(text);
    let breaks = !before.is_empty() && !before.ends_with('\n');
    let mut out = before.to_owned();
    if breaks {
        out.push_str(eol);
    }
    out.push_str(BEGIN);
    out.push_str(client);
    out.push_str(if breaks { BROKE } else { "" });
    out.push_str(eol);
    for line in lines {
        out.push_str(line);
        out.push_str(eol);
    }
    out.push_str(END);
    out.push_str(client);
    out.push_str(eol);
    out.push_str(after);
    out
}

/// Puts whole lines out of force; both ends are starts of lines, or the end of the text.
pub(super) fn put_out(text: &str, client: &str, lines: std::ops::Range<usize>) -> String {
    let mut out = text[..lines.start].to_owned();
    for line in text[lines.clone()].split_inclusive('\n') {
        out.push_str(FORMER);
        out.push_str(client);
        out.push(' ');
        out.push_str(line);
    }
    out.push_str(&text[lines.end..]);
    out
}

/// Takes the client's block out, and puts its former lines in force again; `None` if neither is
/// there. A block whose end is gone is left to the reader of the file.
pub(super) fn remove(text: &str, client: &str) -> Option<String> {
    let former = format!("{FORMER}{client} ");
    let mut found = false;
    // Where a line break was added, and how it looks.
    let mut broken = None;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.find('\n').map_or(rest.len(), |at| at + 1));
        if let Some((broke, after)) = begins(line, client).zip(behind(tail, client)) {
            found = true;
            if broke {
                // It is like those of the block.
                let eol = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
                broken = Some((out.len(), eol));
            }
            rest = after;
            continue;
        }
        let was = line.strip_prefix(&former);
        found |= was.is_some();
        out.push_str(was.unwrap_or(line));
        rest = tail;
    }
    // What somebody has added behind it needs the line break.
    if let Some((_, eol)) = broken.filter(|(at, _)| *at == out.len()) {
        let kept = out.strip_suffix(eol);
        out.truncate(kept.map_or(out.len(), str::len));
    }
    found.then_some(out)
}

/// Whether the line begins the client's block, and then whether a line break belongs to it.
fn begins(line: &str, client: &str) -> Option<bool> {
    let rest = line.trim_end().strip_prefix(BEGIN)?.strip_prefix(client)?;
    match rest {
        "" => Some(false),
        BROKE => Some(true),
        _ => None,
    }
}

/// What follows the end of the client's block.
fn behind<'a>(text: &'a str, client: &str) -> Option<&'a str> {
    let mut rest = text;
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.find('\n').map_or(rest.len(), |at| at + 1));
        let end = line.trim_end().strip_prefix(END);
        if end.is_some_and(|name| name == client) {
            return Some(tail);
        }
        rest = tail;
    }
    None
}
