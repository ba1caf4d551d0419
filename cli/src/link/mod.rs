//! Pointing a package manager at the node, and back: what moves.
//!
//! What a client's files look like is in `node::formats` (`Link`), pure. Here the client is asked
//! (`ask`), files are changed and their former bytes kept (`saved`), and the two are brought
//! together.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use node::formats::{self, Answer, Link, Settings};

use crate::output::{Code, Failure};

pub(crate) mod ask;
pub(crate) mod saved;

/// Where a client is pointed: the user's settings, or those of a project.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The project; absent for the user.
    pub(crate) project: Option<PathBuf>,
    /// A folder without settings of its own, where a client tells those of the user.
    pub(crate) neutral: PathBuf,
}

impl Place {
    /// Where the client is asked.
    pub(crate) fn folder(&self) -> &Path {
        self.project.as_deref().unwrap_or(&self.neutral)
    }

    /// Where the client is asked, and which program: a project may have one of its own.
    pub(crate) fn asked<'p>(&'p self, link: &Link) -> Asked<'p> {
        let chosen = self.project.as_deref().and_then(|project| project_file(link, project));
        Asked { folder: self.folder(), program: chosen.and_then(|chosen| chosen.program) }
    }

    /// The file that is written.
    pub(crate) fn file(&self, link: &Link, answer: &Answer) -> Result<PathBuf, Failure> {
        if let Some(project) = &self.project {
            let chosen = project_file(link, project).ok_or_else(|| no_project(link, project))?;
            return Ok(chosen.file);
        }
        let file = answer.user_file.clone().or_else(|| (link.user_file)(&variable));
        let file = file.filter(|file| file.is_absolute()).map(|file| in_use(link, file));
        file.ok_or_else(|| {
            Failure::new(format!("it is not known where {} keeps its settings", link.client))
                .hint("set HOME, or link a project alone: griot link CLIENT --project DIR")
        })
    }

    /// Every file of settings that the client reads, the weakest first; the written one counts
    /// where it stands.
    fn files(&self, link: &Link, answer: &Answer) -> Vec<PathBuf> {
        let mut files = answer.files.clone();
        let user = answer.user_file.clone().or_else(|| (link.user_file)(&variable));
        let home = variable("HOME").map(PathBuf::from);
        let also = |folder: &Path| link.also_reads.iter().map(|name| folder.join(name)).collect();
        files.extend(home.as_deref().map_or_else(Vec::new, also));
        if let Some(project) = &self.project {
            files.extend(also(project));
        }
        let folder = user.as_deref().and_then(Path::parent);
        let near = link.beside_user_file.iter();
        files.extend(folder.into_iter().flat_map(|of| near.clone().map(|name| of.join(name))));
        files.extend(user.map(|file| in_use(link, file)));
        if let Some(project) = &self.project {
            let above: Vec<&Path> = project.ancestors().skip(1).filter(|_| link.parents).collect();
            let folders = above.into_iter().rev().chain([project.as_path()]);
            files.extend(folders.filter_map(|of| Some(project_file(link, of)?.file)));
        }
        files
    }

    /// What its files say together. One that cannot be read is reported, not guessed.
    pub(crate) fn settings(&self, link: &Link, answer: &Answer) -> Result<Settings, Failure> {
        let mut all = Settings::default();
        for file in self.files(link, answer) {
            let Some(text) = saved::text(&file)? else { continue };
            let read = (link.read)(&file.to_string_lossy(), &text, &variable);
            let read = read.map_err(|why| {
                Failure::new(format!("{} cannot be read: {why}", file.display()))
                    .hint("mend it, then type this again")
            })?;
            all.registry = read.registry.or(all.registry);
            all.scopes.extend(read.scopes);
            all.credentials.extend(read.credentials);
            all.beside.extend(read.beside);
            all.keys.extend(read.keys);
        }
        (link.settle)(&mut all);
        Ok(all)
    }
}

/// How a client is asked.
#[derive(Debug)]
pub(crate) struct Asked<'p> {
    /// Where.
    pub(crate) folder: &'p Path,
    /// Which one, if not the first on the path.
    pub(crate) program: Option<PathBuf>,
}

/// A project's file of settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Absolute, or as the project's folder is.
    pub(crate) file: PathBuf,
    /// The program that reads it, if it is not the one on the path.
    pub(crate) program: Option<PathBuf>,
}

/// The first file of a project whose marker is there.
pub(crate) fn project_file(link: &Link, project: &Path) -> Option<Chosen> {
    let found = link.project_files.iter().find_map(|known| {
        let folder = match known.folder {
            Some(name) => PathBuf::from(variable(name)?),
            None => project.to_owned(),
        };
        let there = known.marker.is_empty() || folder.join(known.marker).exists();
        there.then_some((folder, known))
    });
    let (folder, known) = found?;
    let program = Some(folder.join(known.program));
    let program = program.filter(|program| !known.program.is_empty() && program.is_file());
    Some(Chosen { file: in_use(link, folder.join(known.file)), program })
}

fn no_project(link: &Link, project: &Path) -> Failure {
    let (client, folder) = (link.client, project.display());
    let whole = format!("link it for the user: griot link {client}");
    if link.project_files.is_empty() {
        return Failure::new(format!("{client} has no settings of a project")).hint(whole);
    }
    let markers: Vec<_> = link.project_files.iter().map(|known| known.marker).collect();
    let markers = markers.join(", ");
    Failure::new(format!("{client} has no settings in {folder}: there is none of {markers}"))
        .hint(whole)
}

/// A URL without the name and password that may stand in it.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    let bare = parsed.set_username("").and_then(|()| parsed.set_password(None));
    if bare.is_ok() { parsed.into() } else { "a URL with a password".to_owned() }
}

/// The value of `Authorization` for the name and password that stand in a URL.
pub(crate) fn credential_in(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let both = [plain(url.username()), plain(url.password().unwrap_or_default())].join(&b':');
    (both.len() > 1).then(|| format!("Basic {}", BASE64_STANDARD.encode(both)))
}

/// The file that the client reads: one with the name of former days comes first where it is.
fn in_use(link: &Link, file: PathBuf) -> PathBuf {
    let older = link.older_name.map(|name| file.with_file_name(name));
    older.filter(|older| older.is_file()).unwrap_or(file)
}

/// A variable of the environment that is not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The recipe of a client, with the format that it is of.
pub(crate) fn find(client: &str) -> Result<(&'static formats::Format, &'static Link), Failure> {
    let mut all = all();
    all.find(|(_, link)| link.client == client).ok_or_else(|| {
        let known: Vec<_> = self::all().map(|(_, link)| link.client).collect();
        Failure::new(format!("there is no client {client:?} that can be linked"))
            .hint(format!("use some of: {}", known.join(", ")))
            .code(Code::Usage)
    })
}

/// Every client that can be linked.
pub(crate) fn all() -> impl Iterator<Item = (&'static formats::Format, &'static Link)> {
    formats::ALL.iter().flat_map(|format| format.links.iter().map(move |link| (*format, link)))
}

/// The credential for a registry: the one whose place is the longest start of its URL.
pub(crate) fn credential(settings: &Settings, registry: &str) -> Option<String> {
    let url = crdt::origin::normalise(registry).ok()?;
    let (_, place) = url.split_once(':')?;
    let fits = |of: &str| {
        let of = of.trim_end_matches('/');
        place.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'))
    };
    let found = settings.credentials.iter().filter(|(of, _)| fits(of));
    found.max_by_key(|(of, _)| of.len()).map(|(_, credential)| credential.clone())
}

/// Whether a URL is on the node: the same port of this machine.
pub(crate) fn is_node(base: &str, url: &str) -> bool {
    let (Ok(base), Ok(url)) = (url::Url::parse(base), url::Url::parse(url)) else { return false };
    let here = |url: &url::Url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let same = base.host() == url.host() || here(&base) && here(&url);
    same && base.port_or_known_default() == url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_for_its_host_and_path_alone() {
        let mut settings = Settings::default();
        let keep = [("//packages.test/", "one"), ("//packages.test/npm/", "two")];
        settings.credentials.extend(keep.map(|(of, word)| (of.to_owned(), word.to_owned())));
        let of = |url: &str| credential(&settings, url);
        assert_eq!(of("https://packages.test/npm").as_deref(), Some("two"));
        assert_eq!(of("https://packages.test/npm/a/").as_deref(), Some("two"));
        assert_eq!(of("https://packages.test/other/").as_deref(), Some("one"));
        for url in ["https://packages.test.evil.test/", "https://packages.test:8443/", "nonsense"] {
            assert_eq!(of(url), None, "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_a_credential_and_is_never_shown() {
        let url = "https://m%40e:s%3Acret@packages.test/simple/";
        let basic = format!("Basic {}", BASE64_STANDARD.encode("m@e:s:cret"));
        assert_eq!(credential_in(url), Some(basic));
        assert_eq!(shown(url), "https://packages.test/simple/");
        assert_eq!(credential_in("https://packages.test/simple/"), None);
        assert_eq!(shown("/opt/wheels"), "/opt/wheels");
        assert_eq!(shown("https://packages.test"), "https://packages.test");
    }

    #[test]
    fn the_node_is_known_by_each_of_its_names() {
        assert!(is_node("http://127.0.0.1:7878", "http://localhost:7878/npm/"));
        assert!(!is_node("http://127.0.0.1:7878", "http://127.0.0.1:7879/npm/"));
        assert!(!is_node("http://127.0.0.1:7878", "https://packages.test/"));
    }

    #[test]
    fn clients_are_found_by_name_and_others_are_wrong_use() {
        for client in ["npm", "pnpm", "yarn", "berry", "bun"] {
            assert_eq!(find(client).unwrap().1.client, client);
        }
        let failure = find("nosuch").unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.hint.unwrap().contains("berry"));
    }
}
