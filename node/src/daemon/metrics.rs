//! Counters in Prometheus text: requests by format and outcome, and what the store holds.
//!
//! Labels come from [`formats::ALL`], never from a request, so their number is fixed. Counters
//! begin at zero at each start, as Prometheus expects.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::StatusCode;

use crate::formats;
use crate::registry::Storage;
use crate::store::Counts;
use crate::store::kinds::Amount;

/// Classes of status, from 1xx to 5xx.
const CLASSES: usize = 5;

/// Requests since the start.
#[derive(Debug)]
pub(super) struct Metrics {
    started: Instant,
    rows: Vec<(&'static str, [AtomicU64; CLASSES])>,
}

/// Which row a request counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

impl Metrics {
    pub(super) fn new() -> Self {
        let ids = formats::ALL.iter().map(|format| format.id).chain(["api", "other"]);
        let rows = ids.map(|id| (id, Default::default())).collect();
        Self { started: Instant::now(), rows }
    }

    /// The row of a path: the format that is mounted there, `api`, or `other`.
    pub(super) fn label(&self, path: &str) -> Label {
        let mount = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let formats = formats::ALL.len();
        let format = formats::ALL.iter().position(|format| format.mount == mount);
        Label(format.unwrap_or(if mount == "api" { formats } else { formats + 1 }))
    }

    /// Counts one answered request.
    pub(super) fn count(&self, label: Label, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        self.rows[label.0].1[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The text of `/metrics`.
    pub(super) fn render(&self, counts: &Counts, storage: &Storage) -> String {
        let mut out = String::from("# TYPE griot_http_requests_total counter\n");
        for (id, classes) in &self.rows {
            for (class, value) in classes.iter().enumerate() {
                let (class, value) = (class + 1, value.load(Ordering::Relaxed));
                if value > 0 {
                    let labels = format!("format=\"{id}\",status=\"{class}xx\"");
                    line(&mut out, &format!("griot_http_requests_total{{{labels}}}"), value);
                }
            }
        }
        let gauges = [
            ("griot_uptime_seconds", self.started.elapsed().as_secs()),
            ("griot_index_realms", counts.realms),
            ("griot_index_packages", counts.packages),
            ("griot_index_releases", counts.releases),
            ("griot_index_statements", counts.statements),
            ("griot_blobs", counts.blobs),
            ("griot_blob_bytes", counts.blob_bytes),
            ("griot_wants", counts.wants),
        ];
        for (name, value) in gauges {
            line(&mut out, &format!("# TYPE {name} gauge\n{name}"), value);
        }
        held(&mut out, storage);
        out
    }
}

/// Blobs by the reason for which they are held, and what had to go.
fn held(out: &mut String, storage: &Storage) {
    let kinds = &storage.kinds;
    let kinds = [
        ("published", kinds.published),
        ("pinned", kinds.pinned),
        ("mirrored", kinds.mirrored),
        ("cached", kinds.cached),
        ("unnamed", kinds.unnamed),
        ("partial", storage.partial.resumable),
        ("quarantined", storage.quarantined),
    ];
    out.push_str("# TYPE griot_held_bytes gauge\n# TYPE griot_held_files gauge\n");
    for (kind, Amount { count, bytes }) in kinds {
        line(out, &format!("griot_held_bytes{{kind=\"{kind}\"}}"), bytes);
        line(out, &format!("griot_held_files{{kind=\"{kind}\"}}"), count);
    }
    let evicted = [
        ("griot_evicted_files_total", storage.evicted.count),
        ("griot_evicted_bytes_total", storage.evicted.bytes),
    ];
    for (name, value) in evicted {
        line(out, &format!("# TYPE {name} counter\n{name}"), value);
    }
    line(out, "# TYPE griot_disk_free_bytes gauge\ngriot_disk_free_bytes", storage.free);
}

fn line(out: &mut String, name: &str, value: u64) {
    writeln!(out, "{name} {value}").expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_under_its_mount_and_class() {
        let metrics = Metrics::new();
        metrics.count(metrics.label("/api/search"), StatusCode::OK);
        metrics.count(metrics.label("/api/search"), StatusCode::NOT_FOUND);
        metrics.count(metrics.label("/nothing/of/ours"), StatusCode::NOT_FOUND);
        let text =
            metrics.render(&Counts { packages: 3, ..Counts::default() }, &Storage::default());
        assert!(text.contains("\ngriot_held_bytes{kind=\"pinned\"} 0\n"), "{text}");
        assert!(text.contains("\ngriot_evicted_bytes_total 0\n"), "{text}");
        assert!(text.contains("griot_http_requests_total{format=\"api\",status=\"2xx\"} 1\n"));
        assert!(text.contains("griot_http_requests_total{format=\"other\",status=\"4xx\"} 1\n"));
        assert!(text.contains("\ngriot_index_packages 3\n"));
    }
}
