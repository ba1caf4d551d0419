//! The stub upstream is judged before anything is judged by it: by npm itself, and request by
//! request for each thing that can go wrong with it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::client::{clean, find, skip};
use crate::harness::upstream::{Raw, Stub, Tarballs};
use crate::harness::wait::{run, said, wait_until};
use crate::harness::{Reply, Request, SOON, World};

fn address(stub: &Stub) -> String {
    stub.url().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

#[track_caller]
fn get(stub: &Stub, path: &str) -> Reply {
    Request::get(path).send(&address(stub)).expect("the stub answers")
}

/// A stub with left-pad, which needs pad.
fn stub() -> Stub {
    let stub = Stub::start();
    stub.publish("pad", "1.0.0", |p| p);
    stub.publish("left-pad", "1.0.0", |p| p.dependency("pad", "^1.0.0"));
    stub
}

/// What npm does to check a signature; its own command wants a list of keys from elsewhere first.
const VERIFY: &str = "
import crypto from 'node:crypto';
const [url, name, version] = process.argv.slice(1);
const get = async (path) => (await fetch(url + path)).json();
const { keys } = await get('-/npm/v1/keys');
const { dist } = (await get(name.replace('/', '%2f'))).versions[version];
const { keyid, sig } = dist.signatures[0];
const { key } = keys.find((key) => key.keyid === keyid);
const spki = { key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' };
const text = `${name}@${version}:${dist.integrity}`;
const good = Buffer.from(sig, 'base64');
console.log(crypto.verify('sha256', text, crypto.createPublicKey(spki), good)
    && !crypto.verify('sha256', text + 'x', crypto.createPublicKey(spki), good));
";
const TARBALL: &str = "/left-pad/-/left-pad-1.0.0.tgz";

#[test]
fn npm_installs_from_the_stub_and_believes_its_signatures() {
    let world = World::new();
    if find("npm").is_none() || find("node").is_none() {
        return skip("needs npm and node");
    }
    let stub = stub();
    stub.publish("@village/shifts", "2.0.0", |p| p.dependency("left-pad", "1"));
    stub.switch(|s| s.signed = true);
    let project = world.folder("project");
    let manifest = r#"{"name":"project","version":"1.0.0","private":true}"#;
    fs_err::write(project.join("package.json"), manifest).expect("a manifest can be written");
    let npm = |arguments: &[&str]| {
        let mut command = clean("npm");
        command.current_dir(&project).args(arguments).args(["--registry", &stub.url()]);
        command.env("HOME", world.folder("home")).env("npm_config_cache", world.folder("cache"));
        command.env("npm_config_update_notifier", "false");
        for kind in ["userconfig", "globalconfig"] {
            command.env(format!("npm_config_{kind}"), world.folder("home").join(kind));
        }
        let output = run(&mut command, Duration::from_secs(150));
        assert!(output.status.success(), "npm {arguments:?}: {}", said(&output));
        said(&output)
    };
    npm(&["install", "@village/shifts"]);
    let module = project.join("node_modules/left-pad/index.js");
    let module = fs_err::read_to_string(module).expect("npm installed the module");
    assert!(module.contains("left-pad@1.0.0"), "{module}");
    let url = stub.url();
    let mut command = clean("node");
    command.args(["--input-type=module", "--eval", VERIFY, &url, "@village/shifts", "2.0.0"]);
    let output = run(&mut command, Duration::from_secs(60));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "true", "{}", said(&output));
}

#[test]
fn the_two_forms_validators_and_ranges_are_as_a_registry_has_them() {
    let stub = stub();
    let full = get(&stub, "/left-pad");
    let accept = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";
    let ask = Request::get("/left-pad").header("accept", accept);
    let short = ask.send(&address(&stub)).expect("the stub answers");
    assert!(full.json()["time"]["1.0.0"].is_string());
    assert!(short.json()["time"].is_null() && short.json()["modified"].is_string());
    let etag = full.header("etag").expect("there is a validator");
    assert_ne!(Some(etag), short.header("etag"));
    let again = Request::get("/left-pad").header("if-none-match", etag);
    assert_eq!(again.send(&address(&stub)).expect("the stub answers").status, 304);
    assert_eq!(stub.answered(304), 1);

    let whole = get(&stub, TARBALL);
    let etag = whole.header("etag").expect("there is a validator");
    let rest = Request::get(TARBALL).header("range", "bytes=10-").header("if-range", etag);
    let rest = rest.send(&address(&stub)).expect("the stub answers");
    assert_eq!((rest.status, rest.body.as_slice()), (206, &whole.body[10..]));
    let other = Request::get(TARBALL).header("range", "bytes=10-").header("if-range", "\"x\"");
    assert_eq!(other.send(&address(&stub)).expect("the stub answers").status, 200);
}

#[test]
fn a_crippled_stub_has_one_form_no_validators_and_one_tag() {
    let stub = stub();
    stub.tag("left-pad", "next", "1.0.0");
    assert!(get(&stub, "/left-pad").json()["dist-tags"]["next"].is_string());
    stub.switch(|s| s.crippled = true);
    let ask = Request::get("/left-pad").header("accept", "application/vnd.npm.install-v1+json");
    let reply = ask.send(&address(&stub)).expect("the stub answers");
    assert!(reply.json()["time"].is_object() && reply.json()["dist-tags"]["next"].is_null());
    assert_eq!((reply.header("etag"), reply.header("last-modified")), (None, None));
}

#[test]
fn each_switch_spoils_what_it_says_and_can_be_turned_back() {
    let stub = stub();
    let whole = get(&stub, TARBALL).body;
    stub.switch(|s| s.wrong_bytes = true);
    let wrong = get(&stub, TARBALL).body;
    assert!(wrong != whole && wrong.len() == whole.len());
    stub.switch(|s| (s.wrong_bytes, s.cut_after, s.cuts) = (false, Some(20), 1));
    let cut = get(&stub, TARBALL);
    assert_eq!(cut.body, whole[..20]);
    assert_eq!(cut.header("content-length"), Some(whole.len().to_string().as_str()));
    assert_eq!(get(&stub, TARBALL).body, whole, "one cut was asked for");
    stub.switch(|s| s.portal = true);
    assert!(get(&stub, TARBALL).text().contains("<html>"));
    stub.switch(|s| (s.portal, s.require_token) = (false, Some("secret".to_owned())));
    assert_eq!(get(&stub, "/left-pad").status, 401);
    let allowed = Request::get("/left-pad").token("secret").send(&address(&stub));
    assert_eq!(allowed.expect("the stub answers").status, 200);
    stub.switch(|s| (s.require_token, s.chunked) = (None, true));
    assert_eq!(get(&stub, TARBALL).body, whole);
    stub.raw("/left-pad", Raw::ok("application/json", "{}"));
    assert_eq!(get(&stub, "/left-pad").text(), "{}");
    stub.unraw("/left-pad");
    stub.switch(|s| s.status = Some(429));
    assert_eq!(get(&stub, "/left-pad").status, 429);
}

#[test]
fn files_can_lie_in_another_folder_or_on_another_host() {
    let stub = stub();
    for place in [Tarballs::Folder("files/v2".to_owned()), Tarballs::OtherHost] {
        stub.switch(|s| s.tarballs = place.clone());
        assert_eq!(get(&stub, TARBALL).status, 404, "{place:?}");
        let document = get(&stub, "/left-pad").json();
        let url = document["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap_or_default();
        let rest = url.strip_prefix("http://").expect("it is a URL");
        let (host, path) = rest.split_once('/').expect("it has a path");
        let reply = Request::get(&format!("/{path}")).send(host).expect("the stub answers");
        assert_eq!((reply.status, &reply.body[..2]), (200, &[0x1f, 0x8b][..]), "{place:?}");
    }
}

#[test]
fn a_black_hole_takes_requests_and_gives_nothing_and_a_closed_port_refuses() {
    let stub = stub();
    stub.switch(|s| s.black_hole = true);
    let mut stream = TcpStream::connect(address(&stub)).expect("it accepts");
    stream.write_all(b"GET /left-pad HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    wait_until("the request", SOON, || stub.count("/left-pad") == 1);
    assert_eq!(stub.requests()[0].status, None);
    stub.switch(|s| s.black_hole = false);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.is_empty(), "{bytes:?}");
    assert_eq!(get(&stub, "/left-pad").status, 200);
    stub.down();
    assert!(TcpStream::connect(address(&stub)).is_err());
    stub.up();
    assert_eq!(get(&stub, "/left-pad").status, 200);
}

#[test]
fn an_audit_answers_for_the_packages_that_have_advisories() {
    let stub = stub();
    stub.advise("pad", serde_json::json!({ "id": 7, "title": "too much padding" }));
    let path = "/-/npm/v1/security/advisories/bulk";
    let ask = Request::post(path, r#"{"pad":["1.0.0"],"left-pad":["1.0.0"]}"#);
    let reply = ask.send(&address(&stub)).expect("the stub answers").json();
    assert_eq!(reply["pad"][0]["id"], 7);
    assert!(reply["left-pad"].is_null());
    let found = get(&stub, "/-/v1/search?text=left").json();
    assert_eq!(
        (&found["total"], &found["objects"][0]["package"]["name"]),
        (&1.into(), &"left-pad".into())
    );
}
