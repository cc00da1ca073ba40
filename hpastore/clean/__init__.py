"""Clean sets: which cells to train on.

Context: the notebook drops cells outside two percentiles of their label, in memory, and nobody can
say afterwards why a cell went.  Decision: a rule is a row, its thresholds are a view over the cells
of now, and a clean set keeps the thresholds and verdicts of the moment it was made, each with its
reason.  Consequence: a set can be listed, exported again, and compared with what the rule would say
today (``clean_cell.live``).
"""
