//! `griot token`: credentials for clients that publish.

use crdt::statement::Pattern;
use node::daemon::admin::Done;
use node::daemon::admin::realms::RealmInfo;
use node::daemon::admin::tokens::TokenRow;
use node::http::auth::{NewToken, TokenScope};
use node::registry::Scope;
use reqwest::Method;

use super::Context;
use super::follow::segment;
use crate::args::Token;
use crate::names;
use crate::output::{Code, Failure, plain};

pub(super) async fn run(context: &Context, token: Token) -> Result<(), Failure> {
    let node = context.node()?;
    match token {
        Token::Create { scope, realm, names, expires, name } => {
            let realm = match realm {
                Some(realm) => {
                    let path = format!("realms/{}", segment(&realm));
                    Some(node.get::<RealmInfo>(&path).await?.realm)
                }
                None => None,
            };
            let patterns = patterns(&names)?;
            let body = TokenScope { scopes: scope, realm, patterns, expires_hours: expires, name };
            let made: NewToken = node.post("tokens", &body).await?;
            if context.output.is_human() {
                context.output.say("shown once; whoever has it may use it");
            }
            context.output.data(&made, |made| vec![made.token.clone()])
        }
        Token::List => {
            let rows: Vec<TokenRow> = node.get("tokens").await?;
            context.output.data(&rows, |rows| rows.iter().map(line).collect())
        }
        Token::Revoke { id } => {
            let path = format!("tokens/{}", segment(&id));
            let done: Done = node.call(Method::DELETE, &path, None::<&()>).await?;
            if !done.changed {
                let failure = Failure::new(format!("there is no token {}", plain(&id)));
                return Err(failure.hint("griot token list").code(Code::Lacks));
            }
            context.output.data(&done, |_| vec![format!("revoked {}", plain(&id))])
        }
    }
}

fn patterns(names: &[String]) -> Result<Vec<(String, Pattern)>, Failure> {
    let parse = |text: &String| {
        let (format, pattern) = names::pattern(text)?;
        let pattern = Pattern::parse(&pattern)
            .map_err(|error| Failure::new(error.to_string()).code(Code::Usage))?;
        Ok((format, pattern))
    };
    names.iter().map(parse).collect()
}

fn line(row: &TokenRow) -> String {
    let scopes: Vec<&str> = row.scope.scopes.iter().copied().map(Scope::word).collect();
    let ends = match row.scope.expires_hours {
        Some(hours) => format!("{hours} h left"),
        None => "no end".into(),
    };
    format!("{}  {}  {}  {ends}", row.id, plain(&row.scope.name), scopes.join(","))
}
