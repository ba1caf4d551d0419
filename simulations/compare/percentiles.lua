-- What wrk measured, as one line that the script can read. Latencies in microseconds.
done = function(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d %d %.0f %.0f %.0f",
    summary.duration, summary.requests, summary.bytes,
    e.status, e.connect + e.read + e.write, e.timeout, latency.max,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
