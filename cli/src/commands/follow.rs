//! `griot follow` and `griot unfollow`: taking packages from a realm.
//!
//! The names that a realm claims are shown before they are taken: that is the moment in which a
//! stranger could put himself in front of a name.

use std::time::{Duration, Instant};

use node::daemon::admin::Done;
use node::daemon::admin::follows::{FollowOrder, Follows};
use node::daemon::admin::realms::RealmInfo;
use reqwest::Method;

use super::Context;
use crate::args::{Follow, Unfollow};
use crate::client::Node;
use crate::output::{Code, Failure, plain, short};

/// How long a realm is waited for.
const OFFER_WAIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(250);

pub(super) async fn follow(context: &Context, order: Follow) -> Result<(), Failure> {
    let node = context.node()?;
    let info = shown(context, &node, &order.realm).await?;
    let title = plain(&info.title);
    context.output.say(format!("{title}  {}", info.realm));
    if info.claims.is_empty() {
        context
            .output
            .say("claims no names: its packages are kept, and used where a route says so");
    }
    for claim in &info.claims {
        let (format, pattern) = (&claim.format, plain(&claim.pattern.0));
        context.output.say(format!("claims {format}:{pattern}: these names will come from there"));
    }
    let confirmed = order.yes || context.output.ask("follow it?").unwrap_or(false);
    if !confirmed {
        return Err(Failure::new(format!("{title} is not followed: nobody has confirmed it"))
            .hint(format!("griot follow {} --yes", info.realm))
            .code(Code::Refused));
    }
    let body = FollowOrder { realm: info.realm, claims: info.claims };
    let follows: Follows = node.post("follows", &body).await?;
    for overlap in &follows.overlaps {
        let (format, pattern) = (&overlap.claim.format, plain(&overlap.claim.pattern.0));
        let earlier = short(&overlap.earlier);
        context.output.say(format!(
            "{format}:{pattern} overlaps what {earlier} claims: it takes nothing until you choose"
        ));
        context.output.say(format!("to choose: griot route add '{format}:{pattern}' REALM"));
    }
    context.output.data(&follows, |_| vec![format!("following {title}")])
}

/// The realm, once a connected peer shows it: one that has just been met has not yet.
async fn shown(context: &Context, node: &Node, realm: &str) -> Result<RealmInfo, Failure> {
    let path = format!("realms/{}", segment(realm));
    let until = Instant::now() + OFFER_WAIT;
    let may_come = realm.starts_with("r1");
    let mut told = false;
    loop {
        match node.get(&path).await {
            Err(failure) if failure.code == Code::Lacks && may_come && Instant::now() < until => {
                if !told {
                    context.output.say("waiting for a peer that shows it");
                    told = true;
                }
                tokio::time::sleep(POLL).await;
            }
            other => return other,
        }
    }
}

pub(super) async fn unfollow(context: &Context, order: Unfollow) -> Result<(), Failure> {
    let path = format!("follows/{}", segment(&order.realm));
    let done: Done = context.node()?.call(Method::DELETE, &path, None::<&()>).await?;
    context.output.data(&done, |done| {
        let word = if done.changed { "no longer following" } else { "was not following" };
        vec![format!("{word} {}", plain(&order.realm))]
    })
}

/// What was typed, as one segment of a path: realm ids are letters and digits, all else is no id.
pub(crate) fn segment(text: &str) -> String {
    let kept: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    if kept.len() == text.len() && !kept.is_empty() { kept } else { "unknown".into() }
}
