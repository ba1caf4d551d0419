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

/// `FORMAT:NAME`, where it begins with a format that is known here, or just a name.
pub(crate) fn format(text: &str) -> (Option<&str>, &str) {
    let known = |format: &str| node::formats::ALL.iter().any(|known| known.id == format);
    match text.split_once(':') {
        Some((format, name)) if known(format) && !name.is_empty() => (Some(format), name),
        _ => (None, text),
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
    fn a_name_may_say_its_format() {
        assert_eq!(format("pypi:six@>=1"), (Some("pypi"), "six@>=1"));
        assert_eq!(format("npm:@acme/ui"), (Some("npm"), "@acme/ui"));
        for text in ["six", "nosuch:six", "pypi:", ":six"] {
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
