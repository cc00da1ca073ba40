"""Figures: what a rule keeps and what it drops, as pictures.

Context: thresholds are numbers, but whether a cell is good is seen.  Decision: every figure is a
function of a store that returns a `matplotlib.figure.Figure`; cells are drawn from their original
files, at the grey levels that are stored, with one gain for all, so that a dark cell looks dark; random
cells are drawn by a seed from the cells in the order of their names.  Consequence: a figure can be
shown in a notebook or written as a file, the same store and options give the same bytes on both
databases, and Matplotlib is needed by nobody else.  Its object interface is used, never ``pyplot``,
which keeps figures and a backend for the whole process.
"""
