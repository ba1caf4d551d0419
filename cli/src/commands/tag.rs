//! `griot tag`: points a tag at a version, or removes it.

use node::daemon::admin::Done;
use node::daemon::admin::packages::{Named, TagOrder};
use node::registry::Info;

use super::Context;
use crate::args::Tag;
use crate::names;
use crate::output::{Code, Failure, plain};

pub(super) async fn run(context: &Context, order: Tag) -> Result<(), Failure> {
    let (name, version) = names::split(&order.package);
    if version.is_some() == order.remove {
        let failure = Failure::new("a tag is set to a version, or removed from a name");
        return Err(failure
            .hint("griot tag NAME@VERSION TAG, or griot tag NAME TAG --remove")
            .code(Code::Usage));
    }
    let named = Named { name, version, format: order.format };
    let node = context.node()?;
    if order.remove {
        let info: Info = node.post("info", &named).await?;
        if !info.tags.contains_key(&order.tag) {
            let (tag, package) = (plain(&order.tag), plain(&order.package));
            return Err(Failure::new(format!("{package} has no tag {tag}"))
                .hint(format!("griot info {package} --format {}", info.format))
                .code(Code::Lacks));
        }
    }
    let body = TagOrder { named, tag: order.tag.clone() };
    let done: Done = node.post("tag", &body).await?;
    context.output.data(&done, |_| {
        let (tag, package) = (plain(&order.tag), plain(&order.package));
        vec![if order.remove {
            format!("removed {tag} of {package}")
        } else {
            format!("{tag} → {package}")
        }]
    })
}
