"""Stored pixels and cell outlines as pictures, without Matplotlib: for figures and exports."""
