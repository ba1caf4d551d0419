//! Files of settings: read, written so that a crash leaves the old or the new one, and their
//! former bytes kept in the node's folder until they are wanted back.
//!
//! ```text
//! <home>/links/HASH.json     one a client and file; mode 0600, since such files hold tokens
//! ```
//!
//! The record is durable before the file is changed, so a crash in between leaves a record of a
//! file that is as it was. Mode and line endings of a file stay; a symbolic link is written
//! through.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use node::formats::Aim;
use serde::{Deserialize, Serialize};

use crate::output::Failure;

/// Bytes of a file of settings.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Symbolic links that are followed.
const HOPS_MAX: usize = 16;

/// What a client's file was before it was linked, and what was written.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// As `griot link` takes it.
    pub(crate) client: String,
    /// The real file, absolute.
    pub(crate) file: PathBuf,
    /// The project, if it is not the user's.
    pub(crate) project: Option<PathBuf>,
    /// Where it points.
    pub(crate) aim: Aim,
    /// Id of the token that was made for it.
    pub(crate) token_id: Option<String>,
    /// Base64 of the former bytes; absent if there was no file.
    pub(crate) former: Option<String>,
    /// BLAKE3 of what was written.
    pub(crate) written: crdt::Digest,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved").field("client", &self.client).field("file", &self.file).finish()
    }
}

impl Saved {
    /// The former text; empty if there was no file.
    pub(crate) fn former_text(&self) -> String {
        // A record with damaged bytes is not read.
        former(self).unwrap_or_default()
    }

    /// Keeps a text as the former one.
    pub(crate) fn encode(text: Option<&str>) -> Option<String> {
        text.map(|text| BASE64_STANDARD.encode(text))
    }

    /// The record of a client and a real file, if it is linked.
    pub(crate) fn load(home: &Path, client: &str, file: &Path) -> Result<Option<Self>, Failure> {
        read_record(&record(home, client, file))
    }

    /// Every record, by client and file.
    pub(crate) fn all(home: &Path) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        let entries = match fs_err::read_dir(folder(home)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(all),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                all.extend(read_record(&path)?);
            }
        }
        all.sort_by(|a, b| (&a.client, &a.file).cmp(&(&b.client, &b.file)));
        Ok(all)
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn keep(&self, home: &Path) -> Result<(), Failure> {
        neutral(home)?;
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(format!("the record is no JSON: {error}")))?;
        replace(&record(home, &self.client, &self.file), &bytes, 0o600)
    }

    /// Removes the record.
    pub(crate) fn forget(&self, home: &Path) -> Result<(), Failure> {
        remove(&record(home, &self.client, &self.file))
    }
}

/// The folder of the records, made if need be: no client has settings there.
pub(crate) fn neutral(home: &Path) -> Result<PathBuf, Failure> {
    let folder = folder(home);
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.recursive(true).create(&folder)?;
    Ok(folder)
}

fn folder(home: &Path) -> PathBuf {
    home.join("links")
}

fn record(home: &Path, client: &str, file: &Path) -> PathBuf {
    let name = format!("{client}\0{}", file.display());
    folder(home).join(format!("{}.json", crdt::Digest::of(name.as_bytes())))
}

fn read_record(path: &Path) -> Result<Option<Saved>, Failure> {
    match fs_err::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
        Ok(bytes) => {
            let read = serde_json::from_slice::<Saved>(&bytes).map_err(|error| error.to_string());
            let sound = read.and_then(|saved| match former(&saved) {
                Some(_) => Ok(saved),
                None => Err("its former bytes are damaged".to_owned()),
            });
            sound.map(Some).map_err(|why| {
                let hint =
                    "it holds the former bytes of a file of settings: keep it, and look into it";
                Failure::new(format!("{} cannot be read: {why}", path.display())).hint(hint)
            })
        }
    }
}

/// The former text, empty if there was no file; `None` if it is no text, which no link keeps.
fn former(saved: &Saved) -> Option<String> {
    let Some(text) = &saved.former else { return Some(String::new()) };
    String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()
}

/// Keeps two commands from changing settings at once, until it is dropped: clients share files.
pub(crate) fn lock(home: &Path) -> Result<std::fs::File, Failure> {
    let path = neutral(home)?.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// The file behind symbolic links, absolute; it need not exist.
pub(crate) fn real(file: &Path) -> Result<PathBuf, Failure> {
    let mut file = file.to_owned();
    for _ in 0..HOPS_MAX {
        let is_link = fs_err::symlink_metadata(&file).is_ok_and(|found| found.is_symlink());
        if !is_link {
            let name = file.file_name().unwrap_or_default().to_owned();
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            // A folder that is not there yet has no links to follow.
            let parent = match fs_err::canonicalize(parent) {
                Err(error) if error.kind() == ErrorKind::NotFound => std::path::absolute(parent)?,
                parent => parent?,
            };
            return Ok(parent.join(name));
        }
        let target = fs_err::read_link(&file)?;
        file = file.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Failure::new(format!("{} leads from one symbolic link to the next", file.display())))
}

/// The text of a file; `None` if it does not exist.
pub(crate) fn text(file: &Path) -> Result<Option<String>, Failure> {
    let found = match fs_err::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let bad = |why: String| Failure::new(format!("{} {why}", file.display()));
    // Reading a pipe would wait for ever, and a device has no end.
    if !found.is_file() {
        let what = if found.is_dir() { "is a folder" } else { "is no ordinary file" };
        return Err(bad(format!("{what}, not a file of settings")).hint("move it away first"));
    }
    let mut bytes = Vec::new();
    let limited = fs_err::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    if limited? as u64 > FILE_BYTES_MAX {
        let length = found.len();
        return Err(bad(format!("has {length} bytes: that is no file of settings")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| {
        Failure::new(format!("{} is not UTF-8", file.display()))
            .hint("save it as UTF-8, then type this again")
    })
}

/// Writes a file of settings that was `before` when it was read; one that exists keeps its mode.
///
/// # Errors
/// Somebody has changed it meanwhile: nothing is written then.
pub(crate) fn write(
    file: &Path,
    before: Option<&str>,
    text: &str,
    new_mode: u32,
) -> Result<(), Failure> {
    if self::text(file)?.as_deref() != before {
        return Err(Failure::new(format!("{} has just been changed", file.display()))
            .hint("nothing was written; type this again"));
    }
    #[cfg(unix)]
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::metadata(file).map_or(new_mode, |found| found.permissions().mode() & 0o7777)
    };
    #[cfg(not(unix))]
    let mode = new_mode;
    replace(file, text.as_bytes(), mode)
}

/// Removes a file; one that is gone already is no failure.
pub(crate) fn remove(file: &Path) -> Result<(), Failure> {
    match fs_err::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn replace(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    if let Some(folder) = file.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".griot-{}", std::process::id()));
    let temporary = file.with_file_name(name);
    remove(&temporary)?;
    let written = fill(&temporary, bytes, mode).and_then(|()| fs_err::rename(&temporary, file));
    if let Err(error) = written {
        drop(fs_err::remove_file(&temporary));
        return Err(error.into());
    }
    #[cfg(unix)]
    if let Some(folder) = file.parent() {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn fill(temporary: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(temporary)?;
    file.write_all(bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(file: &Path) -> Saved {
        Saved {
            client: "npm".into(),
            file: file.to_owned(),
            project: None,
            aim: Aim { token: Some("griot_s3cret".into()), ..Aim::default() },
            token_id: None,
            former: Saved::encode(Some("a=b\r\n")),
            written: crdt::Digest::of(b""),
        }
    }

    #[test]
    fn a_record_is_kept_for_its_owner_alone_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".npmrc");
        let saved = saved(&file);
        saved.keep(home.path()).unwrap();
        let found = Saved::load(home.path(), "npm", &file).unwrap().unwrap();
        assert_eq!(found.former_text(), "a=b\r\n");
        assert!(!format!("{found:?}").contains("s3cret"));
        assert!(Saved::load(home.path(), "pnpm", &file).unwrap().is_none());
        assert_eq!(Saved::all(home.path()).unwrap().len(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let record = record(home.path(), "npm", &file);
            let mode = fs_err::metadata(record).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        found.forget(home.path()).unwrap();
        assert!(Saved::all(home.path()).unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_leads_to_the_file_also_where_there_is_none_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        fs_err::create_dir_all(at("dots")).unwrap();
        std::os::unix::fs::symlink("dots/npmrc", at(".npmrc")).unwrap();
        assert_eq!(real(&at(".npmrc")).unwrap(), at("dots/npmrc"));
        std::os::unix::fs::symlink("two", at("one")).unwrap();
        std::os::unix::fs::symlink("one", at("two")).unwrap();
        assert!(real(&at("one")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_gets_what_is_asked() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("npmrc");
        let mode = || fs_err::metadata(&file).unwrap().permissions().mode() & 0o777;
        write(&file, None, "one", 0o600).unwrap();
        assert_eq!(mode(), 0o600);
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        write(&file, Some("one"), "two", 0o600).unwrap();
        assert_eq!((mode(), text(&file).unwrap().as_deref()), (0o640, Some("two")));
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_file_that_somebody_else_has_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("npmrc");
        fs_err::write(&file, "theirs").unwrap();
        for before in [None, Some("ours")] {
            let failure = write(&file, before, "new", 0o600).unwrap_err();
            assert!(failure.message.contains("just been changed"), "{failure:?}");
        }
        assert_eq!(fs_err::read_to_string(&file).unwrap(), "theirs");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_ordinary_file_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (path, what) in
            [(pipe.as_path(), "no ordinary file"), (Path::new("/dev/zero"), "no ordinary file")]
        {
            assert!(text(path).unwrap_err().message.contains(what), "{}", path.display());
        }
        assert!(text(folder.path()).unwrap_err().message.contains("is a folder"));
        let huge = folder.path().join("huge");
        fs_err::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        assert!(text(&huge).unwrap_err().message.contains("no file of settings"));
    }

    #[test]
    fn a_record_whose_former_bytes_are_damaged_is_never_taken_for_an_empty_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".npmrc");
        for former in ["%%%", "//4="] {
            Saved { former: Some(former.into()), ..saved(&file) }.keep(home.path()).unwrap();
            let failure = Saved::load(home.path(), "npm", &file).unwrap_err();
            assert!(failure.message.contains("damaged"), "{failure:?}");
            assert!(Saved::all(home.path()).is_err());
        }
    }

    #[test]
    fn who_changes_settings_keeps_others_waiting() {
        let home = tempfile::tempdir().unwrap();
        let held = lock(home.path()).unwrap();
        let other = std::fs::File::open(home.path().join("links/lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("npmrc");
        assert_eq!(text(&file).unwrap(), None);
        fs_err::write(&file, [0xff, 0xfe]).unwrap();
        assert!(text(&file).unwrap_err().message.contains("UTF-8"));
    }
}
