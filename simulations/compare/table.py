"""The one table, and what it says about the promises. Only figures of one round are divided."""

import math
import os
import statistics

HEAD = ("cell", "conns", "peer", "runs", "req/s", "× nginx", "p50 ms", "p95 ms", "p99 ms",
        "CPU ms", "MB/s", "Pss/HWM MiB", "× quiet", "load", "command")


FIGURES = ("p50", "p95", "p99", "cpu_ms", "mb_s")


def groups(rows):
    """Rows of the same cell, connections and peer, in the order of their first."""
    found = {}
    for row in rows:
        found.setdefault((row["cell"], row["connections"], row["peer"]), []).append(row)
    return found


def number(value):
    if value is None:
        return "–"
    if math.isinf(value):
        return "none whole"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def spread(rows, key):
    """Median, and the range where there are several."""
    values = [row[key] for row in rows if key in row]
    if not values:
        return "–"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}–{number(max(values))})"


def ratios(rows, cell, connections, peer, key="rate", over="nginx"):
    """Of each round in which both are valid."""
    found = groups(row for row in rows if row["valid"])
    below = {row["round"]: row.get(key) for row in found.get((cell, connections, over), ())}
    return [row[key] / below[row["round"]] for row in found.get((cell, connections, peer), ())
            if below.get(row["round"]) and key in row]


def line(rows, key, group):
    cell, connections, peer = key
    shown = f"{peer} {group[0]['version']}"
    bad = [row for row in group if not row["valid"]]
    if bad:
        return [cell, str(connections), shown, str(len(group)), f"INVALID: {bad[0]['why']}",
                *["–"] * 8, load(group), bad[0].get("command", "")]
    over = ratios(rows, cell, connections, peer) if peer != "nginx" else []
    return [
        cell, str(connections), shown, str(len(group)), spread(group, "rate"),
        number(middle(over)), *(spread(group, name) for name in FIGURES),
        number(most(group, "pss")) + "/" + number(most(group, "most")),
        spread(group, "times"), load(group), group[0]["command"],
    ]


def most(group, key):
    return max((row[key] for row in group if key in row), default=None)


def load(group):
    return number(statistics.median(row["load"] for row in group))


def show(rows, promised):
    lines = [list(HEAD)]
    for key, group in groups(rows).items():
        lines.append(line(rows, key, group))
    wide = [max(len(one[column]) for one in lines) for column in range(len(HEAD) - 1)]
    for one in lines:
        print("  ".join(word.ljust(width) for word, width in zip(one, wide)) + "  " + one[-1])
    print()
    for promise in promises(rows) if promised else ():
        print(promise)
    print(f"{os.cpu_count()} cores; times and rates are of this machine at that load, "
          "ratios and CPU may be told")


def say(name, value, good):
    if value is None:
        return f"–       {name}: not measured"
    return f"{'met' if good(value) else 'MISSED':7} {name}: {number(value)}"


def middle(values):
    return statistics.median(values) if values else None


def value(rows, cell, connections, key, peer="griot"):
    group = groups(row for row in rows if row["valid"]).get((cell, connections, peer), ())
    return middle([row[key] for row in group if key in row])


def promises(rows):
    """DESIGN section 9 as far as this run can tell."""
    def over(cell, connections, key="rate", peer="nginx"):
        return middle(ratios(rows, cell, connections, "griot", key, peer))

    filled = [row["times"] for row in rows if row["cell"].startswith("store, ") and "times" in row]
    return [
        say("small metadata, 64 connections, × nginx ≥ 0.5", over("small metadata", 64),
            lambda it: it >= 0.5),
        say("small metadata, 64 connections, p99 ms < 20 (idle cores)",
            value(rows, "small metadata", 64, "p99"), lambda it: it < 20),
        say("small metadata, 64 connections, CPU × docker-registry ≤ 0.2",
            over("small metadata", 64, "cpu_ms", "docker-registry"), lambda it: it <= 0.2),
        say("5 MB metadata, 8 connections, × nginx ≥ 0.8", over("5 MB metadata", 8),
            lambda it: it >= 0.8),
        say("5 MB metadata, 8 connections, p95 × nginx ≤ 3", over("5 MB metadata", 8, "p95"),
            lambda it: it <= 3),
        say("1 MB beside 64 readers of 5 MB, × quiet < 10",
            value(rows, "1 MB beside 64 readers", 1, "times"), lambda it: it < 10),
        say("100 MB down, 1 connection, × nginx ≥ 0.8", over("100 MB down", 1),
            lambda it: it >= 0.8),
        say("100 MB up, file, CPU-ms ≤ 300", value(rows, "100 MB up, file", 1, "cpu_ms"),
            lambda it: it <= 300),
        say("100 MB up, npm, CPU-ms ≤ 590 (its hashes + 100)",
            value(rows, "100 MB up, npm", 1, "cpu_ms"), lambda it: it <= 590),
        say("5 × 100 MB up, file, Pss MiB ≤ 64", value(rows, "100 MB up, file", 5, "pss"),
            lambda it: it <= 64),
        say("5 × 100 MB up, npm, Pss MiB ≤ 64", value(rows, "100 MB up, npm", 5, "pss"),
            lambda it: it <= 64),
        say("5 × 100 MB up, file, MB/s × docker-registry ≥ 0.8",
            over("100 MB up, file", 5, "mb_s", "docker-registry"), lambda it: it >= 0.8),
        say("cold start × docker-registry ≤ 5", over("cold start", "", "p50", "docker-registry"),
            lambda it: it <= 5),
        say("memory with a full store × an empty one ≤ 1.1", middle(filled),
            lambda it: it <= 1.1),
    ]
