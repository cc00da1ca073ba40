"""Draw fields of cells whose truth is known, in the manner of the Human Protein Atlas."""
