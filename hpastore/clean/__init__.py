"""Clean sets: which cells to train on.

Context: the notebook drops cells outside two percentiles of their label, in memory, and nobody can
tell afterwards why a cell was dropped.  Decision: a recipe is data, its rules are rows, and their
thresholds are a view over the current cells.  A version of a clean set keeps the recipe, thresholds
and verdicts of the moment it was made, each verdict with its reason.  An override takes precedence
over the rules, and belongs to a cell's mask and not to its row.  Consequence: a set can be listed
and exported again, and compared with another one, cell by cell and cause by cause, or with the
verdicts that its rules would give today (``clean_cell.live``, ``drift``).

The view ``clean_cell`` judges by the rules of all sets.  A single set is judged in one pass over
the cells (`hpastore.schema.verdict`).  Tests hold the two, and a third in plain Python, equal on
both databases.
"""
