//! `griot run -- COMMAND`: a command whose downloads go through this node, without any setting.
//!
//! For clients whose lockfile no registry setting keeps clean. The child's environment names a
//! proxy on loopback, which lives as long as the child; nothing is written into projects or
//! configurations. Standard streams are the child's, and so is the exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use node::registry::UpstreamRow;
use tokio::process::{Child, Command};

use super::Context;
use crate::args::Run;
use crate::output::{Code, Failure};
use crate::proxy::authority::Authority;
use crate::proxy::forward::file_hosts;
use crate::proxy::scope::Scope;
use crate::proxy::{Proxy, environment, trust};

/// As shells say it: there is no such command.
const NOT_FOUND: u8 = 127;
/// As shells say it: the command cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// Of a child that ended without a code, plus its signal.
const SIGNALLED: i32 = 128;

pub(super) async fn run(context: &Context, run: Run) -> Result<ExitCode, Failure> {
    let node = context.node()?;
    let adopted: Vec<UpstreamRow> = node.get("upstreams").await?;
    let scope = Scope::new(&adopted);
    if scope.is_empty() {
        let failure = Failure::new("no upstream is adopted here, so nothing would be taken over");
        let hint = "griot link npm adopts what npm points at; or griot upstream add npm URL";
        return Err(failure.hint(hint).code(Code::Lacks));
    }
    let hosts = file_hosts(node.base(), &scope).await;
    let scope = scope.with_files(hosts);
    let authority = Authority::open(&context.home, &scope.sites())?;
    let bundle = trust::bundle(authority.pem(), &trusted_before())?;
    let proxy = Proxy::bind(scope.clone(), authority, node.base()).await?;
    let variables =
        environment::of_child(&scope, &proxy.url(), bundle.path(), |name| std::env::var_os(name));
    // Signals are watched before there is a child, so that none is lost between.
    let mut signals = signals::Watched::new()?;
    let mut child = match start(&run.command, variables) {
        Ok(child) => child,
        Err(error) => return Ok(not_started(context, &run.command, &error)),
    };
    let status = tokio::select! {
        status = watch(&mut child, &mut signals) => status?,
        never = proxy.serve() => match never {},
    };
    Ok(code_of(status))
}

/// Files of certificates that the environment and the user's settings name.
fn trusted_before() -> Vec<PathBuf> {
    let mut all = environment::former_bundles(|name| std::env::var_os(name));
    all.extend(std::env::var_os("HOME").iter().flat_map(|home| trust::of_settings(home.as_ref())));
    all
}

fn start(command: &[OsString], variables: Vec<(&'static str, OsString)>) -> std::io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, "there is no command")
    })?;
    Command::new(program).args(arguments).envs(variables).spawn()
}

fn not_started(context: &Context, command: &[OsString], error: &std::io::Error) -> ExitCode {
    let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failure = Failure::new(format!("{name} cannot be run: {error}"))
        .hint("griot run -- COMMAND, as it is typed without griot run");
    context.output.failure(&failure);
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    ExitCode::from(if missing { NOT_FOUND } else { NOT_RUNNABLE })
}

/// Waits for the end of the child; signals that reach us are passed on to it.
async fn watch(child: &mut Child, signals: &mut signals::Watched) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signals::pass(child, signal),
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(SIGNALLED + signals::of(status)?)).unwrap_or(1);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}

#[cfg(unix)]
mod signals {
    //! SIGINT, SIGTERM, SIGHUP and SIGQUIT, which end the child and not us.

    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use tokio::process::Child;
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// Signals that arrive from now on.
    #[derive(Debug)]
    pub(super) struct Watched {
        interrupt: Stream,
        terminate: Stream,
        hangup: Stream,
        quit: Stream,
    }

    impl Watched {
        pub(super) fn new() -> std::io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
                quit: signal(SignalKind::quit())?,
            })
        }

        pub(super) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hangup.recv() => Signal::HUP,
                _ = self.quit.recv() => Signal::QUIT,
            }
        }
    }

    /// Passes a signal on, unless the terminal has sent it to the child as well: twice Ctrl-C
    /// means something else to most programs than once.
    pub(super) fn pass(child: &Child, signal: Signal) {
        if matches!(signal, Signal::INT | Signal::QUIT) && in_front_of_a_terminal() {
            return;
        }
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It may have ended just now.
            let _ = kill_process(id, signal);
        }
    }

    fn in_front_of_a_terminal() -> bool {
        let front = std::fs::File::open("/dev/tty")
            .ok()
            .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok());
        front == Some(getpgrp())
    }

    /// The signal that ended the child.
    pub(super) fn of(status: ExitStatus) -> Option<i32> {
        status.signal()
    }
}

#[cfg(not(unix))]
mod signals {
    //! Elsewhere the console tells the child itself.

    use std::process::ExitStatus;

    use tokio::process::Child;

    /// Nothing to watch, but Ctrl-C must not end us before the child.
    #[derive(Debug)]
    pub(super) struct Watched;

    impl Watched {
        #[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
        pub(super) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn next(&mut self) {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn pass(_child: &Child, (): ()) {}

    pub(super) fn of(_status: ExitStatus) -> Option<i32> {
        None
    }
}
