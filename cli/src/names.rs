//! How people write a package, a version and a pattern of names on one line.

use crate::output::{Code, Failure};

/// `NAME` or `NAME@REST`. The `@` of a scope, as in `@acme/ui`, begins a name.
pub(crate) fn split(text: &str) -> (String, Option<String>) {
    match text.char_indices().skip(1).filter(|(_, letter)| *letter == '@').map(|(at, _)| at).next()
    {
        Some(at) => (text[..at].to_owned(), Some(text[at + 1..].to_owned())),
        None => (text.to_owned(), None),
    }
}

/// `FORMAT:REST` of a format that is known; else all of it, which has no format.
pub(crate) fn format(text: &str) -> (Option<String>, &str) {
    let known = |id: &str| node::formats::ALL.iter().any(|format| format.id == id);
    match text.split_once(':').filter(|(id, _)| known(id)) {
        Some((id, rest)) => (Some(id.to_owned()), rest),
        None => (None, text),
    }
}

/// `FORMAT:PATTERN`.
pub(crate) fn pattern(text: &str) -> Result<(String, String), Failure> {
    match text.split_once(':') {
        Some((format, pattern)) if !format.is_empty() && !pattern.is_empty() => {
            Ok((format.to_owned(), pattern.to_owned()))
        }
        _ => Err(Failure::new(format!("{text:?} does not say which names of which format"))
            .hint("write FORMAT:NAME or FORMAT:PREFIX*, such as 'npm:@acme/*'")
            .code(Code::Usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, rest: Option<&str>) {
        assert_eq!(split(text), (name.to_owned(), rest.map(str::to_owned)));
    }

    #[test]
    fn the_at_of_a_scope_is_part_of_the_name() {
        check("left-pad", "left-pad", None);
        check("left-pad@^1", "left-pad", Some("^1"));
        check("@acme/ui", "@acme/ui", None);
        check("@acme/ui@1.2.0", "@acme/ui", Some("1.2.0"));
        check("a@", "a", Some(""));
        check("", "", None);
        check("é@1", "é", Some("1"));
    }

    #[test]
    fn only_what_is_a_format_stands_before_a_colon() {
        assert_eq!(format("cargo:serde@1"), (Some("cargo".into()), "serde@1"));
        for text in ["serde", "nosuch:serde", "@a/b:c", ""] {
            assert_eq!(format(text), (None, text));
        }
    }

    #[test]
    fn a_pattern_needs_a_format_and_names() {
        assert_eq!(pattern("npm:@acme/*").unwrap(), ("npm".into(), "@acme/*".into()));
        for text in ["npm", "npm:", ":x", ""] {
            assert_eq!(pattern(text).unwrap_err().code, Code::Usage, "{text}");
        }
    }
}
