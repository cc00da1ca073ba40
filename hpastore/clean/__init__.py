"""Clean sets: which cells to train on.

Context: the notebook drops cells outside two percentiles of their label, in memory, and nobody can
say afterwards why a cell went.  Decision: a recipe is data, its rules are rows, their thresholds are a
view over the cells of now, and a version of a clean set keeps the recipe, thresholds and verdicts of the
moment it was made, each verdict with its reason; what people decide beats the rules, and belongs to a
cell's mask and not to its row.  Consequence: a set can be listed, exported again, compared with another
cell by cell and cause by cause, and with what its rules would say today (``clean_cell.live``, ``drift``).

The view ``clean_cell`` judges by the rules of all sets; where one set is asked for, its rules are known
and become one pass over the cells (`hpastore.schema.verdict`).  Tests hold the two, and one in plain
Python, equal on both databases.
"""
