//! A shaped link delays, limits, loses and cuts as it was asked to.
//!
//! It needs root, `ip`, /dev/net/tun and python3; without them the test skips.

use crate::harness::shaper::{Shape, Shaper};

fn number(value: &serde_json::Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}

#[test]
fn a_shaped_link_delays_limits_and_loses_as_asked() {
    let shape = Shape { delay_ms: 40, rate_kbit: 4_000, loss: 10.0 };
    let Some(mut link) = Shaper::new(shape) else { return };
    let server = link.serve(9000, "reno").expect("every kernel has reno");
    let rung = link.ask("ring", 9000, 300);
    assert!(number(&rung, "least_ms") >= 80.0, "{rung}");
    assert!(number(&rung, "median_ms") < 400.0, "{rung}");
    // Both ways over ten percent: 81 % come back. Six standard deviations are 41 packets.
    let came = number(&rung, "came");
    assert!((200.0..285.0).contains(&came), "{rung}");

    // Reno does not live with such a loss: it is the connection's loss, not only a slow stream.
    let lossy = number(&link.ask("pull", 9000, 4), "mbit");
    assert!(lossy < 2.5, "{lossy} Mbit/s");
    link.order("loss 0");
    let clean = number(&link.ask("pull", 9000, 6), "mbit");
    assert!((1.5..4.1).contains(&clean), "{clean} Mbit/s over a link of 4");
    assert!(clean > lossy, "{clean} and {lossy}");

    link.order("cut");
    assert_eq!(number(&link.ask("ring", 9000, 5), "came"), 0.0);
    link.order("heal");
    assert_eq!(number(&link.ask("ring", 9000, 5), "came"), 5.0);
    drop(server);
    assert!(link.delivered_bytes(0) > link.delivered_bytes(1), "the bytes went one way");
}
