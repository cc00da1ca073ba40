"""Run a user's SQL so that it can read the store and do nothing else.

On PostgreSQL the names in a query are checked first (`privileges`).  Each query then runs in a
worker process of its own (`worker`), which `process` starts, limits and ends.
"""
