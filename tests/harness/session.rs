//! A README that is run: its console blocks are a session, typed by a person and checked by a test.
//!
//! A block that starts with ```` ```console ```` holds commands (`$ …`, one line each) and what they
//! print, on either stream. `[..]` stands for any text within a line, and for any lines where it is
//! alone on one. A command must succeed, unless the next one is `echo $?`, as a person would look.
//! Folder and variables last from one command to the next.
//!
//! A block belongs to the worlds that its info string names (```` ```console mesh ````), else to
//! those that the heading above names before a colon (`### Alone, mesh: publish`), else to all.
//! Two things are no commands, and stand in comments that a reader does not see:
//! `<!-- session: stop -->` is Ctrl-C in the window of the node (`stop village`: of the one with
//! that home), `<!-- session: cable out -->` pulls the cable, and `<!-- session: until -->` repeats
//! the next command until it prints what stands there, as a person looks again.
//!
//! `griot up` runs on in its own window. Ports of the text (7878, 7979) are free ones in truth.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::client::clean;
use super::wait::{run, wait_exit, wait_for};

const GRIOT: &str = env!("CARGO_BIN_EXE_griot");
/// A client that repeats what fails for a minute does not get through.
const LIMIT: Duration = Duration::from_secs(60);
/// The port of a node that is told none.
const PORT: &str = "7878";

/// A line of a README that does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A command, what it must print, and whether to repeat it until it does.
    Type { line: usize, command: String, expected: Vec<String>, until: bool },
    /// Ends the node whose home has this name; empty: the default home.
    Stop(String),
    /// Ends what can be ended: the upstream answers nobody any more.
    CableOut,
}

/// The steps of a README in one world.
pub(crate) fn steps(readme: &str, world: &str, worlds: &[&str]) -> Vec<Step> {
    let mut reader = Reader { world, worlds, ..Reader::default() };
    for (number, line) in readme.lines().enumerate() {
        reader.read(number + 1, line);
    }
    assert!(!reader.inside, "a block of the README is not closed");
    reader.steps
}

#[derive(Debug, Default)]
struct Reader<'a> {
    world: &'a str,
    worlds: &'a [&'a str],
    /// Worlds of the section; none: all.
    section: Vec<String>,
    inside: bool,
    /// Whether the block is of this world.
    applies: bool,
    until: bool,
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn read(&mut self, line: usize, text: &str) {
        if let Some(info) = text.strip_prefix("```") {
            self.fence(info);
        } else if self.inside && self.applies {
            self.typed(line, text);
        } else if self.inside {
        } else if text.starts_with('#') {
            self.section = self.named(text.split_once(':').map_or("", |(before, _)| before));
        } else if let Some(said) = text.strip_prefix("<!-- session: ") {
            let said = said.strip_suffix(" -->").expect("a direction ends in its line");
            if self.is_of(&self.section.clone()) {
                self.direct(line, said);
            }
        }
    }

    /// The worlds that a heading or an info string names.
    fn named(&self, text: &str) -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        words.filter(|word| self.worlds.contains(&word.as_str())).collect()
    }

    fn is_of(&self, worlds: &[String]) -> bool {
        worlds.is_empty() || worlds.iter().any(|world| world == self.world)
    }

    fn fence(&mut self, info: &str) {
        self.inside = !self.inside;
        let own = self.named(info);
        let worlds = if own.is_empty() { self.section.clone() } else { own };
        self.applies = info.starts_with("console") && self.is_of(&worlds);
    }

    fn direct(&mut self, line: usize, said: &str) {
        match said.split_once(' ').unwrap_or((said, "")) {
            ("until", "") => self.until = true,
            ("stop", home) => self.steps.push(Step::Stop(home.to_owned())),
            ("cable", "out") => self.steps.push(Step::CableOut),
            _ => panic!("line {line}: no such direction: {said}"),
        }
    }

    fn typed(&mut self, line: usize, text: &str) {
        if let Some(command) = text.strip_prefix("$ ") {
            let until = std::mem::take(&mut self.until);
            let (command, expected) = (command.to_owned(), Vec::new());
            self.steps.push(Step::Type { line, command, expected, until });
            return;
        }
        match self.steps.last_mut() {
            Some(Step::Type { expected, .. }) => expected.push(text.trim_end().to_owned()),
            _ => panic!("line {line}: output before any command"),
        }
    }
}

/// Whether the lines fit: `[..]` is any text in a line, and any lines where it is alone.
pub(crate) fn fits(expected: &[String], printed: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return printed.is_empty() };
    if first.trim() == "[..]" {
        return (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, after)| line_fits(first, line.trim_end()) && fits(rest, after))
}

fn line_fits(expected: &str, line: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else { return expected == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.any(|at| line_fits(after, &rest[at..]))
}

/// A node that `griot up` started, in a window of its own.
#[derive(Debug)]
struct Window {
    home: String,
    child: Child,
}

/// Somebody who types a README.
#[derive(Debug)]
pub(crate) struct Person {
    home: PathBuf,
    variables: Vec<(String, std::ffi::OsString)>,
    windows: Vec<Window>,
    /// Port in the text, and in truth.
    ports: Vec<(String, String)>,
    status: i32,
}

impl Person {
    /// With a home, the variables of a client, and the command under test on the path.
    pub(crate) fn new(home: &Path, variables: Vec<(&str, std::ffi::OsString)>) -> Self {
        let mut all: Vec<_> = variables.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let path = all.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        let path = path.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let folder = Path::new(GRIOT).parent().expect("a binary lies in a folder").to_path_buf();
        let path = std::iter::once(folder).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).expect("no folder has a colon in its name");
        all.retain(|(name, _)| name != "PATH");
        all.extend([("PATH".to_owned(), path), ("HOME".to_owned(), home.into())]);
        all.extend([("NO_COLOR".to_owned(), "1".into()), ("NO_PROXY".to_owned(), "*".into())]);
        let (windows, ports) = (Vec::new(), Vec::new());
        Self { home: home.to_path_buf(), variables: all, windows, ports, status: 0 }
    }

    /// Does all that the README says; `cable_out` is called where it says so.
    pub(crate) fn follow(&mut self, steps: &[Step], cable_out: impl Fn()) {
        assert!(steps.len() > 2, "the README has no session for this world");
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Stop(home) => self.stop(home),
                Step::CableOut => cable_out(),
                Step::Type { line, command, expected, until } => {
                    let next = steps.get(at + 1);
                    let looked = matches!(next,
                        Some(Step::Type { command, .. }) if command == "echo $?");
                    let limit = if *until { LIMIT } else { Duration::ZERO };
                    let what =
                        format!("line {line}, `{command}`, to print\n{}", expected.join("\n"));
                    wait_for(&what, limit, || self.look(command, expected, looked));
                }
            }
        }
    }

    /// Types one command; what it said, if that is not what is expected.
    fn look(&mut self, command: &str, expected: &[String], may_fail: bool) -> Result<(), String> {
        let printed = if is_up(command) { self.up(command, expected) } else { self.run(command) };
        let printed = self.ports.iter().fold(printed, |text, (told, real)| {
            text.replace(&format!("127.0.0.1:{real}"), &format!("127.0.0.1:{told}"))
        });
        let lines: Vec<&str> = printed.lines().collect();
        if self.status != 0 && !may_fail {
            return Err(format!("exit code {}\n{printed}", self.status));
        }
        if fits(expected, &lines) { Ok(()) } else { Err(printed) }
    }

    fn run(&mut self, command: &str) -> String {
        let (kept, said) = (self.home.join(".session"), self.home.join(".session-said"));
        let script = format!(
            "[ ! -e {kept} ] || . {kept}; (exit {status}); {{ {line}\n}} >{said} 2>&1; \
             status=$?; {{ export -p; echo \"cd '$PWD'\"; }} >{kept}; exit $status",
            kept = kept.display(),
            said = said.display(),
            status = self.status,
            line = self.real(command),
        );
        let output = run(&mut self.shell(&script), LIMIT);
        self.status = output.status.code().unwrap_or(-1);
        fs_err::read_to_string(said).unwrap_or_default()
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = clean("sh");
        command.args(["-c", script]).current_dir(&self.home).envs(self.variables.iter().cloned());
        command
    }

    /// A command with the true ports.
    fn real(&self, command: &str) -> String {
        self.ports.iter().fold(command.to_owned(), |text, (told, real)| {
            text.replace(&format!("127.0.0.1:{told}"), &format!("127.0.0.1:{real}"))
        })
    }

    /// Starts a node and waits until it has said what stands there; it listens where it did before.
    fn up(&mut self, command: &str, expected: &[String]) -> String {
        let told = command.split_once("127.0.0.1:").map_or(PORT, |(_, port)| port.trim());
        let known = self.ports.iter().find(|(port, _)| port == told);
        let real = known.map_or("0".to_owned(), |(_, real)| real.clone());
        let log = self.home.join(format!("up-{}.log", self.windows.len()));
        let bare = command.split(" --listen ").next().unwrap_or(command);
        let script = format!(
            "exec {bare} --listen 127.0.0.1:{real} --no-mdns \
             --mesh-listen /ip4/127.0.0.1/tcp/0 >{log} 2>{log}.err",
            log = log.display(),
        );
        let mut command = self.shell(&script);
        let child = command.stdin(Stdio::null()).spawn().expect("a shell starts");
        self.windows.push(Window { home: home_of(bare), child });
        let printed = wait_for("a node to be ready", LIMIT, || {
            let printed = fs_err::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = printed.lines().collect();
            let port = lines.iter().find_map(|line| line.strip_prefix("ready http://127.0.0.1:"));
            let shown = port.map(|port| printed.replace(port.trim_end_matches('/'), told));
            let shown = shown.as_deref().unwrap_or_default();
            let lines: Vec<&str> = shown.lines().collect();
            if fits(expected, &lines) { Ok(printed) } else { Err(printed) }
        });
        let ready = printed.lines().find_map(|line| line.strip_prefix("ready http://127.0.0.1:"));
        let real = ready.expect("it was there").trim_end_matches('/').to_owned();
        self.ports.retain(|(port, _)| port != told);
        self.ports.push((told.to_owned(), real));
        self.status = 0;
        printed
    }

    /// Ctrl-C in the window of a node, which must end well.
    fn stop(&mut self, home: &str) {
        let at = self.windows.iter().position(|window| window.home == home);
        let mut window = self.windows.remove(at.expect("the node was started before"));
        let id = window.child.id();
        let killed = Command::new("sh").args(["-c", &format!("kill -INT {id}")]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the node takes a signal");
        let status = wait_exit(&mut window.child, LIMIT);
        assert!(status.is_some_and(|status| status.success()), "a node ended with {status:?}");
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        for window in &mut self.windows {
            let _ = window.child.kill();
            let _ = window.child.wait();
        }
    }
}

/// Whether a command is a node in the foreground.
fn is_up(command: &str) -> bool {
    let mut words = command.split(' ');
    words.next() == Some("griot") && words.any(|word| word == "up")
}

/// The last part of `--home`; empty without it.
fn home_of(command: &str) -> String {
    let home = command.split_once("--home ").map_or("", |(_, rest)| rest);
    let home = home.split(' ').next().unwrap_or_default();
    home.rsplit('/').next().unwrap_or_default().to_owned()
}
