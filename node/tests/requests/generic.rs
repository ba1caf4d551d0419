//! Generic files: created once, read in parts, listed, withdrawn.

use crate::Node;

#[tokio::test]
async fn a_generic_file_is_created_once_and_read_in_parts() {
    let node = Node::start().await;
    let path = "/generic/app/1.0.0/app%20x.bin";
    let created = node.put(path, "0123456789").await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("location"), "http://127.0.0.1:7878/generic/app/1.0.0/app%20x.bin");
    assert_eq!(node.put(path, "0123456789").await.status, 200);
    assert_eq!(node.put(path, "other").await.status, 409);

    let whole = node.get(path).await;
    let etag = "\"sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"";
    assert_eq!((whole.status.as_u16(), whole.text().as_str()), (200, "0123456789"));
    assert_eq!((whole.header("etag"), created.header("etag")), (etag, etag));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let disposition = "attachment; filename=\"app x.bin\"; filename*=UTF-8''app%20x%2Ebin";
    assert_eq!(whole.header("content-disposition"), disposition);
    assert!(whole.header("repr-digest").starts_with("sha-256=:hNiYd/"));

    let head = node.ask("HEAD", path, &[], "").await;
    assert_eq!(head.header("content-length"), "10");
    assert!(head.body.is_empty() && head.header("etag") == etag);
    for (headers, status, range, text) in [
        (vec![("range", "bytes=2-4")], 206, "bytes 2-4/10", "234"),
        (vec![("range", "bytes=7-")], 206, "bytes 7-9/10", "789"),
        (vec![("range", "bytes=-2")], 206, "bytes 8-9/10", "89"),
        (vec![("range", "bytes=0-1,2-4")], 206, "bytes 0-4/10", "01234"),
        (vec![("range", "bytes=2-4"), ("if-range", etag)], 206, "bytes 2-4/10", "234"),
        (vec![("range", "bytes=2-4"), ("if-range", "\"x\"")], 200, "", "0123456789"),
        (vec![("if-none-match", etag)], 304, "", ""),
    ] {
        let answer = node.ask("GET", path, &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!((answer.header("content-range"), answer.text().as_str()), (range, text));
    }
    let outside = node.ask("GET", path, &[("range", "bytes=10-")], "").await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */10"));
}

#[tokio::test]
async fn generic_preconditions_and_digests_are_held() {
    let node = Node::start().await;
    let admin = ("authorization", "Bearer admin-secret");
    let put = async |version: &str, header: (&str, &str), body: &'static str| {
        node.ask("PUT", &format!("/generic/app/{version}/f"), &[admin, header], body).await.status
    };
    assert_eq!(put("1", ("if-none-match", "*"), "a").await, 201);
    assert_eq!(put("1", ("if-none-match", "*"), "a").await, 412);
    assert_eq!(put("2", ("if-match", "*"), "a").await, 412);
    assert_eq!(put("1", ("if-match", "*"), "a").await, 200);
    let etag = node.get("/generic/app/1/f").await.header("etag").to_owned();
    assert_eq!(put("1", ("if-match", &etag), "a").await, 200);
    assert_eq!(put("1", ("if-match", &format!("W/{etag}")), "a").await, 412, "RFC 9110 13.1.1");
    let right = "sha-256=:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=:";
    assert_eq!(put("3", ("content-digest", right), "a").await, 201);
    assert_eq!(put("4", ("content-digest", right), "b").await, 400);
    assert_eq!(put("5", ("content-length", "9"), "short").await, 400);
    assert_eq!(put("6", ("content-encoding", "gzip"), "x").await, 415);
    for version in ["4", "5", "6"] {
        assert_eq!(node.get(&format!("/generic/app/{version}/f")).await.status, 404, "{version}");
    }
}

#[tokio::test]
async fn of_two_writers_at_once_one_wins_and_the_other_is_told() {
    let node = Node::start().await;
    let path = "/generic/app/1.0.0/f";
    let (one, two) = tokio::join!(node.put(path, "one"), node.put(path, "two"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let winner = if one.status == 201 { "one" } else { "two" };
    assert_eq!(node.get(path).await.text(), winner);
}

#[tokio::test]
async fn generic_folders_list_what_is_there_until_it_is_withdrawn() {
    let node = Node::start().await;
    for (version, file) in [("10", "a"), ("9", "a"), ("10", "b")] {
        assert_eq!(
            node.put(&format!("/generic/ns%2Fapp/{version}/{file}"), file).await.status,
            201
        );
    }
    let all = node.get("/generic/ns%2Fapp/").await.json();
    let versions: Vec<_> =
        all["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, ["9", "10"]);
    let one = node.get("/generic/ns%2Fapp/10/").await.json();
    assert_eq!(one["files"].as_array().unwrap().len(), 2);
    let url = one["files"][0]["url"].as_str().unwrap();
    assert_eq!(url, "http://127.0.0.1:7878/generic/ns%2Fapp/10/a");
    assert_eq!(node.get(url.strip_prefix("http://127.0.0.1:7878").unwrap()).await.text(), "a");
    let sums = node.get("/generic/ns%2Fapp/10/SHA256SUMS").await.text();
    assert!(
        sums.starts_with("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n")
    );
    assert_eq!(sums.lines().count(), 2);
    let looks = node.front.ready.counts().looks;
    for (path, before) in
        [("", all.to_string()), ("10/", one.to_string()), ("10/SHA256SUMS", sums.clone())]
    {
        assert_eq!(node.get(&format!("/generic/ns%2Fapp/{path}")).await.text(), before);
    }
    assert_eq!(node.front.ready.counts().looks, looks, "they are kept until something changes");
    assert_eq!(node.put("/generic/ns%2Fapp/10/SHA256SUMS", "x").await.status, 400);

    let admin = [("authorization", "Bearer admin-secret")];
    assert_eq!(node.ask("DELETE", "/generic/ns%2Fapp/10/a", &[], "").await.status, 401);
    assert_eq!(node.ask("DELETE", "/generic/ns%2Fapp/10/a", &admin, "").await.status, 204);
    assert_eq!(node.get("/generic/ns%2Fapp/10/a").await.status, 404);
    assert_eq!(node.get("/generic/ns%2Fapp/10/b").await.text(), "b");
    assert_eq!(node.get("/generic/ns%2Fapp/10/SHA256SUMS").await.text().lines().count(), 1);
    assert_eq!(node.put("/generic/ns%2Fapp/10/a", "other").await.status, 409);
}

#[tokio::test]
async fn deleting_what_is_not_there_is_a_404() {
    let node = Node::start().await;
    for file in ["one", "two"] {
        let answer = node.put(&format!("/generic/tool/1.0/{file}"), file.to_owned()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let admin = [("authorization", "Bearer admin-secret")];
    let delete = async |path: &str| node.ask("DELETE", path, &admin, "").await;
    assert_eq!(delete("/generic/tool/1.0/one").await.status, 204);
    for path in ["/generic/tool/1.0/one", "/generic/tool/1.0/never", "/generic/tool/2.0/two"] {
        let answer = delete(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert_eq!(node.get("/generic/tool/1.0/two").await.status, 200);
}
