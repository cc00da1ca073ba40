"""Figures: what a rule keeps and what it drops, as pictures.

Context: thresholds are numbers, but people judge cells by eye.  Decision: every figure is made by a
function that takes a store and returns a `matplotlib.figure.Figure`.  Cells are drawn from their
original files, at the stored grey levels, with one gain for all, so that a dark cell looks dark.
Random cells are chosen by a seed from all cells sorted by name.  Consequence: a figure can be shown
in a notebook or written to a file, the same store and options give the same bytes on both
databases, and no other package needs Matplotlib.  We use its object interface, never ``pyplot``,
which keeps figures and a backend for the whole process.
"""
