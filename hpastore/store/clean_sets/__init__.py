"""Clean sets in the database: their rows, bounds and verdicts.

Context: a clean set must show, years later, by which rules and bounds each cell was judged.
Decision: a version is written once, with its rules, its bounds and a verdict for each cell and
label; everything that later differs is found by comparing with what the same statements would give
now.  Consequence: `bounds` takes the current bounds, `materialise` writes a version, `comparison`
and `outdated` find what changed since, and none of them writes to a version that is there.
"""
