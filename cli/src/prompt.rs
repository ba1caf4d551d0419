//! Asking a person for a secret: read from the terminal without an echo, or from the environment
//! or the standard input of a script. Never from an argument, which every user of the machine sees.

use std::io::{IsTerminal as _, Read as _, Write as _};

use zeroize::Zeroizing;

use crate::output::{Code, Failure};

/// Where scripts put the passphrase of a key file.
pub(crate) const PASSPHRASE: &str = "GRIOT_PASSPHRASE";
/// Bytes of a secret that is read from the standard input.
const SECRET_BYTES_MAX: u64 = 4 * 1024;

/// The passphrase that opens a key file.
pub(crate) fn passphrase(of: &str) -> Result<Zeroizing<String>, Failure> {
    if let Ok(text) = std::env::var(PASSPHRASE) {
        return Ok(Zeroizing::new(text));
    }
    hidden(&format!("passphrase of {of}: "))?.ok_or_else(|| nobody(&format!("{of} is sealed")))
}

/// A new passphrase, typed twice.
pub(crate) fn new_passphrase(of: &str) -> Result<Zeroizing<String>, Failure> {
    let text = match std::env::var(PASSPHRASE) {
        Ok(text) => Zeroizing::new(text),
        Err(_) => {
            let lacks = || nobody("a passphrase is needed");
            let one = hidden(&format!("passphrase for {of}: "))?.ok_or_else(lacks)?;
            let two = hidden("the same once more: ")?.ok_or_else(lacks)?;
            if one != two {
                return Err(Failure::new("the two are not the same; nothing was written")
                    .hint("type the command again")
                    .code(Code::Usage));
            }
            one
        }
    };
    if text.is_empty() {
        return Err(Failure::new("an empty passphrase protects nothing; nothing was written")
            .hint("leave --passphrase out for a key file that is open")
            .code(Code::Usage));
    }
    Ok(text)
}

/// A secret of several words: from the terminal, or all of a script's standard input.
pub(crate) fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(text) = hidden(question)? {
        return Ok(text);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn nobody(why: &str) -> Failure {
    Failure::new(format!("{why}, and nobody is here to type the passphrase"))
        .hint(format!("in a script: {PASSPHRASE}=… griot …"))
        .code(Code::Refused)
}

/// One line of the terminal without its echo; `None` where there is none.
fn hidden(question: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    drop(write!(std::io::stderr(), "{question}"));
    drop(std::io::stderr().flush());
    let quiet = Quiet::begin()?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.read_line(&mut line);
    drop(quiet);
    drop(writeln!(std::io::stderr()));
    read?;
    Ok(Some(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl Quiet {
    fn begin() -> Result<Self, Failure> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let failed = |error: rustix::io::Errno| {
            Failure::new(format!("the terminal cannot be made quiet: {error}"))
        };
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self { before })
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // The terminal may be gone: nobody sees it then.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(not(unix))]
impl Quiet {
    fn begin() -> Result<Self, Failure> {
        Ok(Self {})
    }
}
