//! Versions and specifiers by PEP 440.

use std::cmp::Ordering;

use proptest::prelude::*;

use crate::formats::pypi::version::{self, canonical, compare, is_prerelease, resolve};

#[test]
fn every_spelling_has_one_normal_form() {
    for (written, normal) in [
        ("1.0", "1.0"),
        ("v1.0", "1.0"),
        ("1.0.0", "1.0.0"),
        ("01.002", "1.2"),
        ("1.0-Alpha.1", "1.0a1"),
        ("1.0_beta", "1.0b0"),
        ("1.0c1", "1.0rc1"),
        ("1.0preview2", "1.0rc2"),
        ("1.0-1", "1.0.post1"),
        ("1.0rev3", "1.0.post3"),
        ("1.0r", "1.0.post0"),
        ("1.0DEV", "1.0.dev0"),
        ("1.0a1.post2.dev3", "1.0a1.post2.dev3"),
        ("1!2.0+CU12-Ubuntu_1", "1!2.0+cu12.ubuntu.1"),
        ("0!1", "1"),
        ("20230101123456789012345678901234567890", "20230101123456789012345678901234567890"),
    ] {
        assert_eq!(canonical(written).as_deref(), Ok(normal), "{written}");
        assert_eq!(canonical(normal).as_deref(), Ok(normal));
    }
    for bad in [
        "", "one", "1.", ".1", "1..0", "1!", "1.0+", "1.0+a..b", "1.0+é", " 1", "1 ", "1\n",
        "1.0-1-1", "1.0x", "1.0.*", "1e5", "1.0a1a2", "vv1", "-1", "1.0--1", "１",
    ] {
        assert!(canonical(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn order_of_versions_with_epochs_locals_and_posts() {
    let ascending = [
        "1.dev0",
        "1.0.dev456",
        "1.0a1",
        "1.0a2.dev456",
        "1.0a12.dev456",
        "1.0a12",
        "1.0b1.dev456",
        "1.0b2",
        "1.0b2.post345.dev456",
        "1.0b2.post345",
        "1.0rc1.dev456",
        "1.0rc1",
        "1.0",
        "1.0+abc.5",
        "1.0+abc.7",
        "1.0+5",
        "1.0+5.0",
        "1.0.post456.dev34",
        "1.0.post456",
        "1.0.15",
        "1.1.dev1",
        "9.10",
        "10.9",
        "20230101000000000000000000000",
        "1!0.1",
        "1!2.0",
        "1!2.0+cu12",
    ];
    for (index, a) in ascending.iter().enumerate() {
        for (other, b) in ascending.iter().enumerate() {
            assert_eq!(compare(a, b), index.cmp(&other), "{a} {b}");
        }
    }
    assert_eq!(compare("junk", "0.dev0"), Ordering::Less);
    assert_eq!(resolve("==1.0.0", &["1.0".to_owned()]), Ok(Some("1.0".to_owned())));
    assert!(is_prerelease("1.0a1") && is_prerelease("1.0.post1.dev2") && !is_prerelease("1.post1"));
}

fn best(range: &str, versions: &[&str]) -> Option<String> {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    resolve(range, &versions).unwrap()
}

#[test]
fn specifiers_pick_the_highest_that_fits() {
    let all = ["1.0", "1.4.1", "1.4.5", "1.5", "2.0a1", "2.0", "2.0.post1", "2.1+cu12", "3.0rc1"];
    for (range, expected) in [
        ("", Some("2.1+cu12")),
        ("*", Some("2.1+cu12")),
        ("~=1.4.1", Some("1.4.5")),
        ("~=1.4", Some("1.5")),
        ("==1.4.*", Some("1.4.5")),
        ("==1.4", None),
        ("1.5", Some("1.5")),
        ("== 2.1", Some("2.1+cu12")),
        ("==2.1+cu11", None),
        ("==2.1+CU12", Some("2.1+cu12")),
        ("!=2.1,!=2.0.*", Some("1.5")),
        ("!=2.1", Some("2.0.post1")),
        (">=1.4,<2", Some("1.5")),
        ("<2.0", Some("1.5")),
        ("<2.0a2", Some("2.0a1")),
        ("<=2.0", Some("2.0")),
        (">2.0,<2.1", None),
        (">2.0.dev0,<2.0.post2", Some("2.0.post1")),
        (">2.1", Some("3.0rc1")),
        (">=3.0rc1", Some("3.0rc1")),
        ("===2.0", Some("2.0")),
        ("===2.00", None),
        ("~=2.0a1", Some("2.1+cu12")),
    ] {
        assert_eq!(best(range, &all).as_deref(), expected, "{range:?}");
    }
    assert_eq!(best("", &["1.0a1", "1.0b1"]).as_deref(), Some("1.0b1"));
    for bad in [
        "~=1",
        "^1.0",
        "latest",
        ">=1.0.*",
        "==1.0a1.*",
        "==1.0.dev1.*",
        ">=1+local",
        "=1",
        "=== a b",
    ] {
        assert!(resolve(bad, &[]).is_err(), "{bad:?}");
    }
    assert!(resolve(&">=1,".repeat(2000), &[]).is_err());
}

const PRE: [&str; 5] = ["a", "Beta", "-rc.", "_c", "preview"];
const POST: [&str; 4] = [".post", "-", "rev", "-r"];
const DEV: [&str; 3] = [".dev", "DEV", "_dev-"];
const LOCAL: [&str; 4] = ["cu12", "1.2", "ubuntu-1", "A_b.007"];

prop_compose! {
    fn written()(
        epoch in prop::option::of(0_u8..3),
        release in prop::collection::vec(0_u32..12, 1..5),
        pre in prop::option::of((prop::sample::select(&PRE[..]), prop::option::of(0_u8..3))),
        post in prop::option::of((prop::sample::select(&POST[..]), 0_u8..3)),
        dev in prop::option::of((prop::sample::select(&DEV[..]), 0_u8..3)),
        local in prop::option::of(prop::sample::select(&LOCAL[..])),
    ) -> String {
        let mut out = epoch.map(|epoch| format!("{epoch}!")).unwrap_or_default();
        out += &release.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
        let number = |number: Option<u8>| number.map(|n| n.to_string()).unwrap_or_default();
        out += &pre.map(|(word, n)| format!("{word}{}", number(n))).unwrap_or_default();
        out += &post.map(|(word, n)| format!("{word}{n}")).unwrap_or_default();
        out += &dev.map(|(word, n)| format!("{word}{n}")).unwrap_or_default();
        out + &local.map(|local| format!("+{local}")).unwrap_or_default()
    }
}

proptest! {
    #[test]
    fn a_normal_form_is_one_and_means_the_same(text in written()) {
        let normal = canonical(&text).unwrap();
        prop_assert_eq!(canonical(&normal).unwrap(), normal.clone());
        let [a, b] = [&text, &normal].map(|text| version::Version::parse(text).unwrap());
        prop_assert!(a.order(&b).is_eq());
        prop_assert_eq!(is_prerelease(&text), is_prerelease(&normal));
        let itself = resolve(&format!("==={normal}"), std::slice::from_ref(&normal));
        prop_assert_eq!(itself, Ok(Some(normal)));
    }

    #[test]
    fn the_order_is_total_and_agrees_with_specifiers(
        (a, b, c) in (written(), written(), written()),
    ) {
        let (a, b, c) = (canonical(&a).unwrap(), canonical(&b).unwrap(), canonical(&c).unwrap());
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        prop_assert_eq!(compare(&a, &b).is_eq(), a == b);
        if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
            prop_assert!(compare(&a, &c).is_le());
        }
        let fits = |range: String| resolve(&range, std::slice::from_ref(&a)).unwrap().is_some();
        let bound = version::Version::parse(&b).unwrap().public().to_string();
        let [equal, other] = ["==", "!="].map(|operator| fits(format!("{operator}{b}")));
        prop_assert_ne!(equal, other);
        let [below, most, above, least] =
            ["<", "<=", ">", ">="].map(|operator| fits(format!("{operator}{bound}")));
        prop_assert!((!below || most) && (!above || least) && !(below && least));
    }

    #[test]
    fn no_text_breaks_the_readers(text in any::<String>(), project in "[a-z-]{1,8}") {
        let _ = canonical(&text);
        let _ = resolve(&text, &["1.0".to_owned()]);
        let _ = compare(&text, "1.0");
        let _ = crate::formats::pypi::dist::parse(&project, &text);
        let _ = crate::formats::pypi::accept::form(Some(&text), None);
        let _ = crate::formats::pypi::metadata::describe(text.as_bytes());
    }
}
