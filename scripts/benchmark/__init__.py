"""Measure what hpastore promises (DESIGN §8), as ratios of two things done in the same run.

Context: machines differ, and one machine differs from hour to hour; a figure that is not beside
another of the same minute says little.  Decision: each row of the table is a quotient of two sides
that take turns, image by image or run by run, and of each side the median counts.  The absolute
rows say what a user waits for.  A check looks at one of them only if it has a guard: something else
that was timed in the same minute, and how many times as long the row may take.

`table` names the rows; each is a function of one of the other modules, takes a `world.World` and
returns a `figure.Figure`.  Functions that run in worker processes live in modules that import
little.
"""
