"""DESIGN section 9 as far as a run can tell: each promise with its bound, its figure, its verdict.

A figure is the median of its rounds; a ratio is taken within a round.
"""

from table import groups, middle, number, ratios

LEAST, MOST, BELOW = "≥", "≤", "<"


class Figures:
    """What a promise is about, round by round."""

    def __init__(self, rows):
        self.rows = rows
        self.groups = groups(row for row in rows if row["valid"])

    def of(self, cell, connections, key, peer="griot"):
        rows = self.groups.get((cell, connections, peer), ())
        return [row[key] for row in rows if row.get(key) is not None]

    def over(self, cell, connections, key="rate", peer="nginx"):
        return ratios(self.rows, cell, connections, "griot", key, peer)

    def above_hashes(self):
        """CPU-ms of an upload by npm less those of its hashes in the same round."""
        of = {row["round"]: row["cpu_ms"] for row in self.rows
              if row["cell"] == "hashes of 100 MB"}
        rows = self.groups.get(("100 MB up, npm", 1, "griot"), ())
        return [row["cpu_ms"] - of[row["round"]] for row in rows if row["round"] in of]

    def filled(self):
        return [row["times"] for row in self.rows
                if row["cell"].startswith("store, ") and row["valid"] and "times" in row]


def judge(rows):
    """Every promise, in the order of the design; then what else was asked for."""
    it = Figures(rows)
    small, big, up = "small metadata", "5 MB metadata", "100 MB up, "
    found = [
        one("small metadata, 64 connections, × nginx", LEAST, 0.5, it.over(small, 64)),
        one("small metadata, 64 connections, p99 ms", BELOW, 20, it.of(small, 64, "p99")),
    ]
    found += [one(f"5 MB metadata, {count} connections, × nginx", LEAST, 0.8, it.over(big, count))
              for count in (1, 8, 64)]
    found.append(one("1 MB beside 64 readers of 5 MB, × its quiet time", BELOW, 10,
                     it.of("1 MB beside 64 readers", 1, "times")))
    found += [one(f"100 MB down, {count} connections, × nginx", LEAST, 0.8,
                  it.over("100 MB down", count)) for count in (1, 8, 64)]
    found += [
        one("100 MB up, sha256 alone, CPU-ms", MOST, 300, it.of(up + "file", 1, "cpu_ms")),
        one("100 MB up, npm, CPU-ms above its hashes", MOST, 100, it.above_hashes()),
        one("5 × 100 MB up, file, Pss MiB", MOST, 64, it.of(up + "file", 5, "pss")),
        one("5 × 100 MB up, npm, Pss MiB", MOST, 64, it.of(up + "npm", 5, "pss")),
        one("small metadata beside 5 × 100 MB up, p99 × its quiet value", BELOW, 5,
            it.of("small beside 5 uploads", 8, "times")),
        one("memory with a full store × with an empty one", MOST, 1.1, it.filled()),
        one("small metadata, 64 connections, CPU × docker-registry", MOST, 0.2,
            it.over(small, 64, "cpu_ms", "docker-registry")),
        one("5 MB metadata, 8 connections, p95 × nginx", MOST, 3, it.over(big, 8, "p95")),
        one("5 × 100 MB up, file, MB/s × docker-registry", LEAST, 0.8,
            it.over(up + "file", 5, "mb_s", "docker-registry")),
        one("cold start × docker-registry", MOST, 5,
            it.over("cold start", "", "p50", "docker-registry")),
    ]
    return found


def one(name, relation, bound, values):
    value = middle(values)
    figure, verdict = "–", "not measured"
    if value is not None:
        kept = {LEAST: value >= bound, MOST: value <= bound, BELOW: value < bound}[relation]
        verdict = "kept" if kept else "missed"
        figure = number(value) if value > 0 else f"{value:.0f}"
        if len(values) > 1:
            figure += f" ({', '.join(f'{it:.3g}' for it in values)})"
    return {"promise": f"{name} {relation} {bound}", "verdict": verdict, "figure": figure,
            "value": value, "rounds": values}
