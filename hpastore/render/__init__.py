"""Pixels and outlines of stored cells as pictures without Matplotlib: for figures, exports and crops."""
