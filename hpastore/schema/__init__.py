"""Columns, tables and views as values; nothing here executes a statement.

Context: people query the store directly, on SQLite and on PostgreSQL, so names and columns are
public and both databases must give the same answers.  Decision: one set of typed models, one
vocabulary of column types whose SQLite form suits STRICT tables, and one text of every view,
written with Core.  Percentiles are made of window functions (`hpastore.schema.percentile`), since
``percentile_cont`` does not exist on SQLite and differs from NumPy in the last bit on PostgreSQL.
"""
