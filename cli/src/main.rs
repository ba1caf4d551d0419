//! `griot`, the command: it reads what was typed, runs one verb, and ends with its exit code.
//!
//! `up` runs a node; every other verb talks to the running one, or signs with a key file. The
//! grammar is in `args`, one file a verb in `commands`, what people read in `output`.

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

mod args;
mod client;
mod code;
mod commands;
mod file;
mod keyfile;
mod link;
mod names;
mod output;
mod period;
mod prompt;
mod proxy;
mod resumable;
mod sign;
mod size;

/// How long threads at work may hold up the end; the store survives it at any point.
const THREADS_MAX: std::time::Duration = std::time::Duration::from_secs(5);

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return unparsed(&error),
    };
    log(matches!(args.verb, args::Verb::Up(_)));
    let output = output::Output::new(args.json);
    // The second of two would be refused: whoever came first chose the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| output::Failure::new(format!("the runtime cannot start: {error}")))
        .and_then(|runtime| {
            let result = runtime.block_on(commands::run(args, output));
            // A thread that reads a large file through cannot be told to stop.
            runtime.shutdown_timeout(THREADS_MAX);
            result
        });
    match result {
        Ok(code) => code,
        Err(failure) => output.failure(&failure),
    }
}

/// Help is printed as it is; what was typed wrongly ends like any other failure.
fn unparsed(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
    let overview = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if help.contains(&error.kind()) || error.kind() == overview {
        // Nobody may read it: that is no failure.
        drop(error.print());
        return if error.kind() == overview { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let json = std::env::args_os().any(|argument| argument == "--json");
    output::Output::new(json).failure(&args::misuse(&error.to_string()))
}

/// Logs go to the standard error: a node tells what it does, other verbs only what is wrong.
fn log(node: bool) {
    let default = if node { "info,libp2p=warn,libp2p_mdns=error" } else { "error" };
    let filter = EnvFilter::try_from_env("GRIOT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
