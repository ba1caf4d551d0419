//! `griot want`: what was asked for in vain, why it lacks, and since when.

use std::time::SystemTime;

use node::daemon::admin::prefetch::{ForgetOrder, Forgotten};
use node::registry::{Want as Wish, WantRow, Wanted};
use reqwest::Method;

use super::Context;
use crate::args::Want;
use crate::output::{Failure, count, plain, size};

pub(super) async fn run(context: &Context, want: Want) -> Result<(), Failure> {
    let node = context.node()?;
    match want {
        Want::List => {
            let rows: Vec<WantRow> = node.get("wants").await?;
            context.output.data(&rows, |rows| lines(rows))
        }
        Want::Forget { name, format } => {
            let order = ForgetOrder { name, format };
            let done: Forgotten = node.call(Method::DELETE, "wants", Some(&order)).await?;
            context.output.data(&done, |done| {
                vec![format!("{} of {} forgotten", count(done.forgotten, "want"), order.name)]
            })
        }
    }
}

fn lines(rows: &[WantRow]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["nothing is wanted".into()];
    }
    rows.iter().map(|row| line(row, now())).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn line(row: &WantRow, now: u64) -> String {
    let Wish { package, size: bytes, since, .. } = &row.want;
    let mut parts = vec![title(&row.want)];
    if *bytes > 0 {
        parts.push(size(*bytes));
    }
    // A clock that was set back knows no age.
    if let Some(age) = now.checked_sub(*since).filter(|_| *since > 0) {
        parts.push(format!("for {}", age_words(age)));
    }
    parts.push(plain(&row.why));
    format!("{}   {}", package.format, parts.join("   "))
}

/// What is wanted: `name@version`, or the document of a name.
pub(super) fn title(want: &Wish) -> String {
    let name = &want.package.name;
    match want.of {
        Wanted::Document => plain(&format!("{name} (document)")),
        _ => plain(&format!("{name}@{}", want.version)),
    }
}

fn age_words(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(of: Wanted, since: u64) -> WantRow {
        let want = Wish {
            package: crdt::PackageId::new("npm", "left-pad"),
            version: "1.3.0".into(),
            file: "left-pad-1.3.0.tgz".into(),
            size: 0,
            of,
            since,
        };
        WantRow { want, why: "the upstream is out of reach".into() }
    }

    #[test]
    fn a_want_says_what_lacks_since_when_and_why() {
        let said = line(&row(Wanted::UpstreamFile, 1_000), 1_000 + 7_200);
        assert_eq!(said, "npm   left-pad@1.3.0   for 2 h   the upstream is out of reach");
        let said = line(&row(Wanted::Document, 0), 1_000);
        assert_eq!(said, "npm   left-pad (document)   the upstream is out of reach");
        let said = line(&row(Wanted::Document, 5_000), 1_000);
        assert!(!said.contains(" for "), "{said}");
    }
}
