"""The one table, as Markdown. Only figures of one round are divided."""

import math
import statistics

HEAD = ("cell", "conns", "peer", "req/s", "× nginx", "p50 ms", "p95 ms", "p99 ms", "CPU ms",
        "MB/s", "Pss MiB", "× quiet (quiet ms)", "load")


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


def middle(values):
    return statistics.median(values) if values else None


def median(rows, key):
    return middle([row[key] for row in rows if row.get(key) is not None])


def spread(rows, key):
    """Median, and the range where there are several."""
    values = [row[key] for row in rows if row.get(key) is not None]
    if len(values) < 2:
        return number(middle(values))
    return f"{number(middle(values))} ({number(min(values))}–{number(max(values))})"


def ratios(rows, cell, connections, peer, key="rate", over="nginx"):
    """Of each round in which both are valid."""
    found = groups(row for row in rows if row["valid"])
    below = {row["round"]: row.get(key) for row in found.get((cell, connections, over), ())}
    return [row[key] / below[row["round"]] for row in found.get((cell, connections, peer), ())
            if below.get(row["round"]) and key in row]


def line(rows, key, group):
    cell, connections, peer = key
    bad = [row for row in group if not row["valid"]]
    if bad:
        return [cell, str(connections), peer, f"INVALID: {bad[0]['why']}",
                *["–"] * (len(HEAD) - 5), number(median(group, "load"))]
    over = ratios(rows, cell, connections, peer) if peer != "nginx" else []
    quiet = f" ({number(median(group, 'quiet'))})" if "quiet" in group[0] else ""
    peak = max((row["pss"] for row in group if "pss" in row), default=None)
    return [
        cell, str(connections), peer, spread(group, "rate"), number(middle(over)),
        number(median(group, "p50")), number(median(group, "p95")), spread(group, "p99"),
        number(median(group, "cpu_ms")), number(median(group, "mb_s")), number(peak),
        spread(group, "times") + quiet, number(median(group, "load")),
    ]


def show(facts, series, promises):
    print(f"{facts['cores']} cores ({facts['processor']}), {facts['memory_gib']} GiB, "
          f"{facts['day']}, commit {facts['commit']}, {facts['rounds']} rounds in "
          f"{facts['minutes']} minutes; medians, in brackets the least and the greatest.")
    versions = {row["peer"]: row["version"] for row in series.rows if row["version"]}
    print(", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    print("Bodies in bytes: " + ", ".join(
        f"{what} of {name} {size:,}" for (name, what), size in series.sizes.items()
        if what in ("small", "5 MB")) + ".")
    for name, why in series.absent.items():
        print(f"No figures of {name}: {why}.")
    lines = [list(HEAD), ["---"] * len(HEAD)]
    lines += [line(series.rows, key, group) for key, group in groups(series.rows).items()]
    wide = [max(len(one[column]) for one in lines) for column in range(len(HEAD))]
    print()
    for one in lines:
        print("| " + " | ".join(word.ljust(width) for word, width in zip(one, wide)) + " |")
    if promises:
        print("\n| promise | verdict | figure |\n| --- | --- | --- |")
    for one in promises:
        print(f"| {one['promise']} | {one['verdict']} | {one['figure']} |")
    print("\nOne command of each cell, without the token:\n\n```")
    for command in commands(series.rows):
        print(command)
    print("```")


def commands(rows):
    """Of the node, one for each kind of cell."""
    found = {}
    for row in rows:
        if row["peer"] == "griot" and row.get("command"):
            found.setdefault(row["cell"], row["command"])
    return [f"{cell}: {command}" for cell, command in found.items()]
