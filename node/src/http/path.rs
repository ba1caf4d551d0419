//! The undecoded path of a request, parsed and percent-decoded exactly once; hostile names end here.
/// A path below a mount: segments decoded once, none empty, none `.` or `..`, no NUL, no backslash,
/// no control character. `%2f` inside a segment is data: it stays inside its segment as `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PathQuery { pub segments: Vec<String>, /// whether the path ended in `/`
    pub folder: bool, pub query: Vec<(String, String)> }
