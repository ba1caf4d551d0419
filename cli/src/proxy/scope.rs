//! What passes through the node: which hosts are opened, and where each request on them goes.
//!
//! Only the hosts of adopted upstreams are opened, and those on which documents have named files:
//! these are asked of the node first, by their URL, and of the host if it does not know them. On
//! the former, what a client *reads* below an adopted base URL is asked of the node; everything
//! else (a publish, a login, what a client reads before it writes, other things on the same host)
//! goes to the host itself, unchanged. Which is which each format says (`Through`): none is named
//! here. Pure: a table test covers it.

use crdt::statement::Pattern;
use hyper::Method;
use node::formats::{FilesElsewhere, Format, Passing};
use node::registry::UpstreamRow;
use url::Url;

/// A place on the network, as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
    /// In lower case; an IPv6 address in brackets.
    pub(crate) host: String,
    /// Always there.
    pub(crate) port: u16,
}

impl Site {
    /// Of a URL; `None` if that is no web server's.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?.to_owned();
        Some(Self { tls, host, port: url.port_or_known_default()? })
    }

    /// Its URL without a slash at the end.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

#[derive(Debug, Clone)]
struct Base {
    site: Site,
    /// With a slash at its end.
    path: String,
    /// Where the node answers for it, with a slash at its end.
    door: String,
    format: &'static Format,
    /// Which names the node would ask of it; `None`: all that nothing else claims.
    names: Option<Vec<Pattern>>,
}

impl Base {
    /// Whether the node would ask this upstream, and not another one, for what the path names.
    fn is_routed_here(&self, rest: &str) -> bool {
        let Some(patterns) = &self.names else { return true };
        let name = (self.format.through.name)(rest);
        name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
    }

    /// The place of a file at the node, below the format's mount.
    fn at_node(&self, below: &str) -> String {
        format!("/{}{below}", self.format.mount)
    }

    /// Who answers for a path that lies beside the base, if it is one of the format's.
    fn beside(&self, path: &str) -> Option<Goal> {
        let found = (self.files()?.beside)(&self.path, path)?;
        let here = self.at_node(&found.path);
        match found.about {
            None => Some(Goal::NodeOrHost(here)),
            Some(rest) => self.is_routed_here(&rest).then_some(Goal::Node(here)),
        }
    }

    const fn files(&self) -> Option<&'static FilesElsewhere> {
        self.format.through.files.as_ref()
    }
}

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The node, at this path and query.
    Node(String),
    /// The node, at this path, if it has the file; else the host.
    NodeOrHost(String),
    /// The host that the client named.
    Host,
}

/// All that is adopted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    bases: Vec<Base>,
    /// Hosts of files that documents of adopted upstreams have named.
    files: Vec<Site>,
}

impl Scope {
    /// Of what the node lists; a format that this command does not know is left out.
    pub(crate) fn new(rows: &[UpstreamRow]) -> Self {
        let mut bases: Vec<Base> = rows.iter().filter_map(|row| base(row, rows)).collect();
        // The longest first: one base may lie below another.
        bases.sort_by_key(|base| std::cmp::Reverse(base.path.len()));
        Self { bases, files: Vec::new() }
    }

    /// With hosts on which the node says that upstreams have files.
    pub(crate) fn with_files(self, files: Vec<Site>) -> Self {
        Self { files, ..self }
    }

    /// What the node is asked for hosts that only documents name: for each format that has such,
    /// the paths to try.
    pub(crate) fn host_asks(&self) -> Vec<Vec<String>> {
        let mut asks: Vec<Vec<String>> = self
            .bases
            .iter()
            .filter_map(|base| {
                Some(base.files()?.hosts.iter().map(|path| base.at_node(path)).collect())
            })
            .collect();
        asks.sort();
        asks.dedup();
        asks
    }

    /// Whether there is nothing to take over.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bases.is_empty()
    }

    /// Every host that is opened, each once.
    pub(crate) fn sites(&self) -> Vec<&Site> {
        let bases = self.bases.iter().map(|base| &base.site);
        let mut sites: Vec<&Site> = bases.chain(&self.files).collect();
        sites.sort();
        sites.dedup();
        sites
    }

    /// The adopted host at this name and port.
    pub(crate) fn opened(&self, host: &str, port: u16) -> Option<&Site> {
        self.sites()
            .into_iter()
            .find(|site| site.port == port && site.host.eq_ignore_ascii_case(host))
    }

    /// Who answers a request on an opened host; `path` is undecoded and has its query.
    pub(crate) fn goal(&self, site: &Site, method: &Method, path: &str) -> Goal {
        let (plain, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        if plain.split('/').any(is_dots) {
            return Goal::Host;
        }
        let here = || self.bases.iter().filter(|base| base.site == *site);
        let below = here().filter_map(|base| Some((base, rest_below(&base.path, plain)?)));
        let Some((base, rest)) = below.into_iter().next() else {
            let beside = here().filter(|_| reads(method)).find_map(|base| base.beside(plain));
            return beside.unwrap_or(Goal::Host);
        };
        let passing = Passing { method, rest, query: query.unwrap_or_default() };
        if !base.is_routed_here(rest) || !(base.format.through.answers)(&passing) {
            return Goal::Host;
        }
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Goal::Node(format!("{}{rest}{query}", base.door))
    }

    /// Who answers a request for what may be a file that a document of an upstream has named;
    /// `path` is undecoded and has its query.
    pub(crate) fn file_goal(&self, site: &Site, method: &Method, path: &str) -> Goal {
        let plain = path.split('?').next().unwrap_or_default();
        let last = plain.rsplit('/').next().unwrap_or_default();
        let is_file = last.contains('.') && last.contains('-') && !plain.split('/').any(is_dots);
        let found = self.bases.iter().find_map(|base| Some((base, base.files()?)));
        let Some((base, files)) = found.filter(|_| is_file && reads(method)) else {
            return Goal::Host;
        };
        let url = node::formats::url_segment(&format!("{}{path}", site.url()));
        Goal::NodeOrHost(base.at_node(&format!("{}{url}", files.at)))
    }

    /// Whether documents of upstreams may name files on this host.
    pub(crate) fn has_files(&self, site: &Site) -> bool {
        let base = |base: &Base| base.files().is_some() && base.site == *site;
        self.files.contains(site) || self.bases.iter().any(base)
    }
}

const fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the node asks this upstream, or one declared to be the same, for any name of the format.
fn is_default(row: &UpstreamRow, rows: &[UpstreamRow]) -> bool {
    let same = |other: &UpstreamRow| {
        row.same_as.contains(&other.origin) || other.same_as.contains(&row.origin)
    };
    let mut defaults = rows.iter().filter(|other| other.default && other.format == row.format);
    row.default || defaults.any(same)
}

fn base(row: &UpstreamRow, rows: &[UpstreamRow]) -> Option<Base> {
    let format = *node::formats::ALL.iter().find(|format| format.id == row.format)?;
    let url = Url::parse(&row.url).ok()?;
    let site = Site::of(&row.url)?;
    let path = format!("{}/", url.path().trim_end_matches('/'));
    let patterns = row.patterns.iter().filter_map(|pattern| Pattern::parse(pattern).ok());
    let names = (!is_default(row, rows)).then(|| patterns.collect());
    let below = format.links.first().map_or("", |link| link.below);
    let door = format!("/{}/{below}", format.mount);
    Some(Base { site, path, door, format, names })
}

/// What follows the base, whose last slash may be missing.
fn rest_below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    if path == base.trim_end_matches('/') { Some("") } else { path.strip_prefix(base) }
}

/// A segment that a URL parser would take away, so that the path would lead elsewhere.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(format: &str, url: &str) -> UpstreamRow {
        UpstreamRow {
            of: "own".into(),
            site: false,
            format: format.into(),
            origin: crdt::Digest::from_bytes([0; 32]),
            url: url.into(),
            default: true,
            patterns: Vec::new(),
            same_as: Vec::new(),
            credential: false,
            reachable: true,
        }
    }

    fn scope(urls: &[&str]) -> Scope {
        Scope::new(&urls.iter().map(|url| row("npm", url)).collect::<Vec<_>>())
    }

    fn goal(method: &Method, path: &str) -> Goal {
        let scope = scope(&["https://packages.test/repo/npm/"]);
        let site = scope.opened("packages.test", 443).unwrap().clone();
        scope.goal(&site, method, path)
    }

    fn node(path: &str) -> Goal {
        Goal::Node(path.into())
    }

    #[test]
    fn what_is_read_below_the_base_is_asked_of_the_node() {
        for (path, asked) in [
            ("/repo/npm/left-pad", "/npm/left-pad"),
            ("/repo/npm/@a%2fb", "/npm/@a%2fb"),
            ("/repo/npm/@a/b/-/b-1.0.0.tgz", "/npm/@a/b/-/b-1.0.0.tgz"),
            ("/repo/npm/-/v1/search?text=x&size=2", "/npm/-/v1/search?text=x&size=2"),
            ("/repo/npm/-/npm/v1/keys", "/npm/-/npm/v1/keys"),
            ("/repo/npm/-/package/x/dist-tags", "/npm/-/package/x/dist-tags"),
            ("/repo/npm", "/npm/"),
        ] {
            assert_eq!(goal(&Method::GET, path), node(asked), "{path}");
            assert_eq!(goal(&Method::HEAD, path), node(asked), "{path}");
        }
        let audit = "/repo/npm/-/npm/v1/security/advisories/bulk";
        assert_eq!(goal(&Method::POST, audit), node("/npm/-/npm/v1/security/advisories/bulk"));
    }

    #[test]
    fn pages_of_an_index_are_the_nodes_and_files_are_if_it_has_them() {
        let scope = Scope::new(&[row("pypi", "https://packages.test/simple")]);
        let site = scope.opened("packages.test", 443).unwrap().clone();
        let goal = |path: &str| scope.goal(&site, &Method::GET, path);
        for (path, asked) in [
            ("/simple/pad/", "/pypi/simple/pad/"),
            ("/simple/pad", "/pypi/simple/pad"),
            ("/simple/", "/pypi/simple/"),
            ("/simple/pad/?format=x", "/pypi/simple/pad/?format=x"),
        ] {
            assert_eq!(goal(path), node(asked), "{path}");
        }
        for (path, asked) in [
            ("/pypi/pad/json", node("/pypi/pad/json")),
            ("/pypi/pad/1.0/json", node("/pypi/pad/1.0/json")),
            ("/pypi/pad/1.0/more/json", Goal::Host),
            ("/pypi//json", Goal::Host),
            ("/pypi/pad", Goal::Host),
        ] {
            assert_eq!(goal(path), asked, "{path}");
        }
        let sum = "e3".repeat(32);
        let own = format!("/files/pad/{sum}/pad-1.0.zip");
        assert_eq!(goal(&own), Goal::NodeOrHost(format!("/pypi{own}")));
        for path in ["/files/pad/x/pad-1.0.zip", "/legacy/", "/simple/pad/pad-1.0.zip", "/pad"] {
            assert_eq!(goal(path), Goal::Host, "{path}");
        }
        assert_eq!(scope.goal(&site, &Method::POST, &own), Goal::Host);
        assert!(scope.has_files(&site));
        let files = Site::of("https://files.test").unwrap();
        assert!(!scope.has_files(&files) && scope.opened("files.test", 443).is_none());
        let scope = scope.clone().with_files(vec![files.clone()]);
        assert!(scope.has_files(&files) && scope.opened("files.test", 443).is_some());
        let file = |method: &Method, path: &str| scope.file_goal(&site, method, path);
        let at = "/pypi/at?url=https%3A%2F%2Fpackages.test%3A443%2Fa%2Fpad-1.0.zip%3Fb%3D1";
        let found = file(&Method::GET, "/a/pad-1.0.zip?b=1");
        assert_eq!(found, Goal::NodeOrHost(at.into()));
        for (method, path) in [
            (Method::GET, "/a/"),
            (Method::GET, "/a-b/c"),
            (Method::GET, "/a/../pad-1.0.zip"),
            (Method::PUT, "/a/pad-1.0.zip"),
        ] {
            assert_eq!(file(&method, path), Goal::Host, "{method} {path}");
        }
    }

    #[test]
    fn what_is_written_and_what_lies_elsewhere_goes_to_the_host() {
        for (method, path) in [
            (Method::PUT, "/repo/npm/left-pad"),
            (Method::DELETE, "/repo/npm/left-pad/-rev/1"),
            (Method::POST, "/repo/npm/-/v1/login"),
            (Method::POST, "/repo/npm/left-pad"),
            (Method::GET, "/repo/npm/left-pad?write=true"),
            (Method::GET, "/repo/npm/-/whoami"),
            (Method::GET, "/repo/npm/-/npm/v1/tokens"),
            (Method::GET, "/repo/npm/-/package/x/collaborators"),
            (Method::GET, "/repo/npmx/left-pad"),
            (Method::GET, "/repo/"),
            (Method::GET, "/"),
            (Method::GET, "/repo/npm/../secret"),
            (Method::GET, "/repo/npm/%2E%2e/secret"),
            (Method::OPTIONS, "/repo/npm/left-pad"),
        ] {
            assert_eq!(goal(&method, path), Goal::Host, "{method} {path}");
        }
    }

    #[test]
    fn only_adopted_hosts_at_their_ports_are_opened() {
        let scope = scope(&["https://packages.test/", "http://127.0.0.1:4873", "ftp://odd.test/"]);
        assert!(scope.opened("PACKAGES.test", 443).unwrap().tls);
        assert!(!scope.opened("127.0.0.1", 4873).unwrap().tls);
        for (host, port) in [("packages.test", 8443), ("odd.test", 21), ("x.packages.test", 443)] {
            assert!(scope.opened(host, port).is_none(), "{host}:{port}");
        }
        assert_eq!(scope.sites().len(), 2);
    }

    #[test]
    fn what_was_declared_the_same_as_the_default_is_the_nodes_too() {
        let origin = crdt::Digest::from_bytes([1; 32]);
        let default = UpstreamRow { origin, ..row("npm", "https://p.test/") };
        let twin = UpstreamRow { default: false, ..row("npm", "https://twin.test/") };
        for (same_as, asked) in [(vec![origin], node("/npm/x")), (Vec::new(), Goal::Host)] {
            let scope = Scope::new(&[default.clone(), UpstreamRow { same_as, ..twin.clone() }]);
            let site = scope.opened("twin.test", 443).unwrap();
            assert_eq!(scope.goal(site, &Method::GET, "/x"), asked);
        }
    }

    #[test]
    fn an_index_of_crates_is_asked_behind_the_upstreams_own_door() {
        let index = row("cargo", "https://index.test/a/index/");
        let scope = Scope::new(std::slice::from_ref(&index));
        let site = scope.opened("index.test", 443).unwrap();
        for path in ["config.json", "se/rd/serde"] {
            let asked = node(&format!("/cargo/~upstream/index/{path}"));
            let goal = scope.goal(site, &Method::GET, &format!("/a/index/{path}"));
            assert_eq!(goal, asked, "{path}");
        }
        let put = scope.goal(site, &Method::PUT, "/a/index/api/v1/crates/new");
        assert_eq!(put, Goal::Host);
        // One for some names has one config.json for all of them.
        let patterns = vec!["acme-*".to_owned()];
        let some = UpstreamRow { default: false, patterns, ..index };
        let scope = Scope::new(&[some]);
        let site = scope.opened("index.test", 443).unwrap();
        for path in ["/a/index/config.json", "/a/index/ac/me/acme-drum"] {
            assert_eq!(scope.goal(site, &Method::GET, path), Goal::Host, "{path}");
        }
    }

    #[test]
    fn of_two_bases_the_longer_one_counts() {
        let rows = [row("npm", "https://p.test/"), row("generic", "https://p.test/files")];
        let scope = Scope::new(&rows);
        let site = scope.opened("p.test", 443).unwrap();
        assert_eq!(scope.goal(site, &Method::GET, "/files/a/1/b"), node("/generic/a/1/b"));
        assert_eq!(scope.goal(site, &Method::GET, "/filesystem"), node("/npm/filesystem"));
    }

    #[test]
    fn no_format_is_named_where_all_pass_through() {
        let files = [
            include_str!("connection.rs"),
            include_str!("environment.rs"),
            include_str!("forward.rs"),
            include_str!("mod.rs"),
            include_str!("scope.rs"),
            include_str!("trust.rs"),
            include_str!("../commands/run.rs"),
        ];
        let of_program = |text: &'static str| text.split("#[cfg(test)]").next().unwrap();
        let lines = files.into_iter().flat_map(|text| of_program(text).lines());
        let code = lines.filter(|line| !line.trim_start().starts_with("//"));
        // Nor one of their clients; what is said to a person may name an example.
        let code: Vec<String> =
            code.filter(|line| !line.contains("let hint")).map(str::to_lowercase).collect();
        for format in node::formats::ALL.iter().filter(|format| !format.links.is_empty()) {
            let clients = format.links.iter().map(|link| link.client);
            for name in clients.chain([format.id]) {
                let is_word = |word: &str| word == name;
                let words =
                    |line: &&String| line.split(|c: char| !c.is_alphanumeric()).any(is_word);
                let found = code.iter().find(words);
                assert_eq!(found, None, "{name}");
            }
        }
    }

    #[test]
    fn a_format_of_a_newer_node_is_left_out() {
        assert!(Scope::new(&[row("nosuch", "https://p.test/")]).is_empty());
    }

    #[test]
    fn an_upstream_of_some_names_is_taken_over_for_these_alone() {
        let some = UpstreamRow {
            default: false,
            patterns: vec!["@village/*".into(), "drum".into()],
            ..row("npm", "https://some.test/")
        };
        let scope = Scope::new(&[row("npm", "https://all.test/"), some]);
        let site = scope.opened("some.test", 443).unwrap();
        for path in ["/@village%2fshifts", "/@village/shifts/-/shifts-1.0.0.tgz", "/drum"] {
            let asked = node(&format!("/npm{path}"));
            assert_eq!(scope.goal(site, &Method::GET, path), asked, "{path}");
        }
        for path in ["/left-pad", "/@other/shifts", "/drums", "/-/npm/v1/keys"] {
            assert_eq!(scope.goal(site, &Method::GET, path), Goal::Host, "{path}");
        }
    }
}
