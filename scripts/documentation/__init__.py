"""The README and the pages of docs/: their examples run, and their tables come from the program.

Context: whoever reads a page types what it shows.  Decision: every example is run as it stands, and
what it prints is compared with the page; tables of measures, columns and commands are written from
the code. Consequence: a page cannot describe what no longer exists, and ``scripts/docs`` brings all
of them up to date.
"""
