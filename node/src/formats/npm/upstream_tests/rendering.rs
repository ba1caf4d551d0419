//! What is rendered of a document is the document, but for what must change.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::metadata::{Form, INSTALL_FIELDS};
use super::super::mode::Mode;
use super::super::render::{self, Look};
use super::super::upstream_outline::scan;
use super::super::version;
use super::{BASE, DOOR, any_packument, bytes_of, config, looks, shown};

/// What a rendering must be, worked out on the tree.
fn expected(document: &Value, look: &Look<'_>) -> Value {
    let mut document = document.clone();
    let offered = |written: &String| {
        let normal = version::canonical(written).ok();
        look.offered.is_none_or(|offered| normal.is_some_and(|normal| offered.contains(&normal)))
    };
    let versions = document["versions"].as_object_mut().unwrap();
    versions.retain(|written, _| offered(written));
    for (written, manifest) in versions.iter_mut() {
        let Ok(normal) = version::canonical(written) else { continue };
        let path = format!("demo/-/demo-{normal}.tgz");
        let url = manifest["dist"]["tarball"].as_str().unwrap().to_owned();
        let standard = [format!("{BASE}{path}"), format!("HTTP://PACKAGES.test/deep/npm/{path}")];
        if look.mode == Mode::Own && standard.contains(&url) {
            manifest["dist"]["tarball"] = json!(format!("{DOOR}/{path}"));
        }
    }
    if let Some(time) = document.get_mut("time") {
        let time = time.as_object_mut().unwrap();
        time.retain(|written, _| version::canonical(written).is_err() || offered(written));
    }
    if let Some(tags) = look.tags {
        document["dist-tags"] = json!(tags);
    }
    if look.form == Form::Abbreviated && document.get("_id").is_some() {
        document = short(document);
    }
    document
}

fn short(mut document: Value) -> Value {
    let mut versions = document["versions"].take();
    for manifest in versions.as_object_mut().unwrap().values_mut() {
        let scripts = manifest.get("scripts").is_some();
        let fields = manifest.as_object_mut().unwrap();
        fields.retain(|key, _| INSTALL_FIELDS.contains(&key.as_str()));
        if scripts {
            manifest["hasInstallScript"] = json!(true);
        }
    }
    json!({
        "name": document["name"], "modified": document["time"]["modified"],
        "dist-tags": document["dist-tags"], "versions": versions,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_rendering_is_the_document_with_what_must_change(
        document in any_packument(),
        pretty in any::<bool>(),
        chosen in any::<Option<u8>>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else {
            serde_json::to_string(&document)
        };
        let bytes = text.unwrap().into_bytes();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let (read, table) = scan(&mut &bytes[..]).unwrap();
        let offered = chosen.map(|bits| {
            let all = read.versions.iter().enumerate();
            let kept = all.filter(|(index, _)| bits >> (index % 8) & 1 == 1);
            kept.map(|(_, version)| version.version.clone()).collect::<BTreeSet<_>>()
        });
        let odd = BTreeMap::from([("x\"y".to_owned(), "7.0.0".to_owned())]);
        let tags = offered.as_ref().map(|_| odd.clone());
        for look in looks(offered.as_ref(), tags.as_ref()) {
            let rendered = bytes_of(&bytes, &render::packument(&table, &look));
            let parsed: Value = serde_json::from_slice(&rendered).unwrap();
            prop_assert_eq!(parsed, expected(&document, &look), "{:?}", look);
        }
        for version in &read.versions {
            let place = usize::try_from(version.declared.start).unwrap()
                ..usize::try_from(version.declared.end).unwrap();
            let declared: Value = serde_json::from_slice(&bytes[place]).unwrap();
            prop_assert_eq!(&declared, &document["versions"][&version.written]);
            let url = declared["dist"]["tarball"].as_str().unwrap();
            let web = url.to_lowercase().starts_with("http");
            prop_assert_eq!(version.files.len(), usize::from(web));
            prop_assert_eq!(version.yanked.as_deref(), declared["deprecated"].as_str());
            let own = Look { mode: Mode::Own, ..looks(None, None)[0] };
            let one = render::manifest(&table, &version.version, &own).unwrap();
            let one: Value = serde_json::from_slice(&bytes_of(&bytes, &one)).unwrap();
            let whole = expected(&document, &own);
            prop_assert_eq!(&one, &whole["versions"][&version.written]);
        }
    }
}

#[test]
fn unknown_members_their_order_and_the_form_of_numbers_survive() {
    let document = concat!(
        r#"{ "z": 1.50E+2, "versions" : {"1.0.0":{"q":-0.0,"dist":{"b":1e9,"#,
        r#""tarball" : "https://packages.test/deep/npm/demo/-/demo-1.0.0.tgz","a":[ ]}} ,"#,
        "\"2.0.0\" :{\"dist\":{}}\n},\"a\":\"\\u00e9\",\"name\":\"demo\"}\n",
    );
    let canonical = Look { mode: Mode::Canonical, ..looks(None, None)[0] };
    assert_eq!(shown(document, &canonical), document);
    let own = Look { mode: Mode::Own, ..canonical };
    let changed = document.replace(BASE, &format!("{DOOR}/"));
    assert_eq!(shown(document, &own), changed);
    let offered = BTreeSet::from(["2.0.0".to_owned()]);
    let hidden = shown(document, &Look { offered: Some(&offered), ..own });
    assert!(hidden.starts_with(r#"{ "z": 1.50E+2, "versions" : {"2.0.0" :{"dist":{}}"#));
}

#[test]
fn tags_name_versions_as_the_document_writes_them_and_are_added_where_it_has_none() {
    let document = r#"{"name":"demo","versions":{"v1.0.0":{}}}"#;
    let tags = BTreeMap::from([("latest".to_owned(), "1.0.0".to_owned())]);
    let look = Look { tags: Some(&tags), ..looks(None, None)[0] };
    let rendered = shown(document, &look);
    assert_eq!(
        rendered,
        r#"{"dist-tags":{"latest":"v1.0.0"},"name":"demo","versions":{"v1.0.0":{}}}"#
    );
    assert_eq!(shown("{}", &look), "{}");
}
