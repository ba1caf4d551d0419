//! `griot join`: makes the realm of an invite this node's site.
//!
//! What is believed of its mirrors is the list of keys and formats that was printed, and nothing
//! that the realm grants later: `griot accept --mirrors` shows that.

use std::path::Path;
use std::time::Duration;

use crdt::RealmId;
use crdt::statement::Grantee;
use node::daemon::admin::Done;
use node::daemon::admin::join::{InviteText, Joined, MirrorChoice, Paired};
use node::daemon::admin::realms::RealmInfo;
use node::daemon::admin::status::Keys;
use node::daemon::invite::InviteRole;
use node::store::AcceptedMirror;
use serde::Serialize;

use super::Context;
use crate::args::Join;
use crate::client::Node;
use crate::output::{Code, Failure, plain, short};

/// How long a join waits to see its role granted before it leaves the request waiting.
const GRANT_WAIT: Duration = Duration::from_secs(10);
/// An invite has at most 1,023 letters.
const FILE_BYTES_MAX: u64 = 2_048;
const POLL: Duration = Duration::from_millis(300);

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    joined: Joined,
    /// Mirrors whose word counts now.
    believed: Vec<AcceptedMirror>,
    request: Option<Paired>,
}

pub(super) async fn run(context: &Context, mut join: Join) -> Result<(), Failure> {
    let node = context.node()?;
    join.invite = line_of(join.invite)?;
    let text = InviteText { invite: join.invite.clone() };
    let joined: Joined = node.post("join", &text).await?;
    if !joined.arrived && joined.met {
        let title = plain(&joined.title);
        return Err(Failure::new(format!(
            "joined {title}, which is private: this node waits until it may read it"
        ))
        .hint(
            "a holder of its root key grants that there: griot realm requests --grant ID; then \
             type this same line again",
        )
        .code(Code::Offline));
    }
    if !joined.arrived {
        let title = plain(&joined.title);
        return Err(Failure::new(format!("joined {title}, but none of its addresses answers yet"))
            .hint(
                "the node keeps dialling, and asks for the role when somebody answers; names and \
                 mirrors take this same line again, once griot status shows a peer",
            )
            .code(Code::Offline));
    }
    let believed = choose_mirrors(context, &node, &joined, &join).await?;
    let request = match joined.role {
        // Reading needs no answer, and the node asks again by itself.
        InviteRole::Reader => node.post::<_, Paired>("join/pair", &text).await.ok(),
        _ => Some(ask_role(&node, &text, &joined).await?),
    };
    let report = Report { joined, believed, request };
    context.output.data(&report, lines)?;
    match &report.request {
        Some(Paired::Refused { why }) if report.joined.role == InviteRole::Reader => {
            context.output.say(format!(
                "{}: packages of the site come all the same, what it fetched elsewhere does not; \
                 ask for a new invite for that",
                plain(why)
            ));
            Ok(())
        }
        Some(Paired::Refused { why }) => {
            Err(Failure::new(format!("joined as a reader; the role was refused: {}", plain(why)))
                .hint("ask for a new invite: griot invite --role publisher")
                .code(Code::Refused))
        }
        _ => Ok(()),
    }
}

/// The line itself, or what the file of that name holds.
fn line_of(given: String) -> Result<String, Failure> {
    let path = Path::new(&given);
    if !path.is_file() {
        return Ok(given);
    }
    if fs_err::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} is too long to be an invite", path.display()))
            .hint("griot invite --out FILE writes one")
            .code(Code::Usage));
    }
    Ok(fs_err::read_to_string(path)?.trim().to_owned())
}

/// Shows whose word would be taken for upstream files, and takes it only when told to.
async fn choose_mirrors(
    context: &Context,
    node: &Node,
    joined: &Joined,
    join: &Join,
) -> Result<Vec<AcceptedMirror>, Failure> {
    let shown = Shown { realm: joined.realm, title: &joined.title, mirrors: &joined.mirrors };
    if !joined.mirrors.is_empty() && !join.no_mirror && shown.ask(context, join.yes) {
        shown.believe(node).await
    } else {
        // An earlier join may have said yes.
        Shown { mirrors: &[], ..shown }.believe(node).await
    }
}

/// The mirrors of a site, as a person is shown them.
pub(super) struct Shown<'a> {
    pub(super) realm: RealmId,
    pub(super) title: &'a str,
    pub(super) mirrors: &'a [AcceptedMirror],
}

impl Shown<'_> {
    /// Prints them, and asks whether to believe them.
    pub(super) fn ask(&self, context: &Context, yes: bool) -> bool {
        let title = plain(self.title);
        context.output.say(format!("mirrors of {title}, whose word counts for upstream files:"));
        for mirror in self.mirrors {
            context.output.say(format!("  {}", mirror_line(mirror)));
        }
        yes || context.output.ask("believe them?").unwrap_or_else(|| {
            context.output.say("nobody is here to answer: they are not believed (--yes does)");
            false
        })
    }

    /// Believes exactly these.
    pub(super) async fn believe(&self, node: &Node) -> Result<Vec<AcceptedMirror>, Failure> {
        let mirrors = self.mirrors.to_vec();
        let choice = MirrorChoice { realm: self.realm, mirrors };
        node.post::<_, Done>("join/mirrors", &choice).await.map(|_| choice.mirrors)
    }
}

/// One mirror as a line.
pub(super) fn mirror_line(mirror: &AcceptedMirror) -> String {
    let format = if mirror.format == "*" { "every format" } else { &mirror.format };
    format!("{}  for {format}", short(&mirror.key))
}

/// Hands in the request, and waits a while for the grant to arrive.
async fn ask_role(node: &Node, text: &InviteText, joined: &Joined) -> Result<Paired, Failure> {
    let paired: Paired = node.post("join/pair", text).await?;
    if paired != Paired::Waiting {
        return Ok(paired);
    }
    let keys: Keys = node.get("keys").await?;
    let key = if joined.role == InviteRole::Mirror { keys.node } else { keys.publisher };
    let path = format!("realms/{}", joined.realm);
    let granted = async {
        loop {
            let info: RealmInfo = node.get(&path).await?;
            if info.grants.iter().any(|grant| grant.to == Grantee::Key(key)) {
                return Ok(Paired::Welcome);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(GRANT_WAIT, granted).await.unwrap_or(Ok(paired))
}

fn lines(report: &Report) -> Vec<String> {
    let joined = &report.joined;
    let mut out = vec![format!("joined {} ({})", plain(&joined.title), short(&joined.realm))];
    for claim in &joined.claims {
        out.push(format!("names from there: {}:{}", claim.format, plain(&claim.pattern.0)));
    }
    match (report.believed.len(), joined.mirrors.len()) {
        (_, 0) => {}
        (0, _) => out.push("its mirrors are not believed".into()),
        (count, _) => out.push(format!("mirrors believed: {count}")),
    }
    match report.request {
        Some(Paired::Welcome) => out.push(format!("this node is a {} there now", joined.role)),
        Some(Paired::Waiting) => out.push(format!(
            "the role of {} waits for a holder of the root key: griot realm requests, there",
            joined.role
        )),
        Some(Paired::Refused { .. }) | None => {}
    }
    out
}
