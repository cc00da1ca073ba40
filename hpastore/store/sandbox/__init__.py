"""Run the user's own SQL so that it can read and do nothing else.

On PostgreSQL the names of a query are checked first (`privileges`); each query then runs in a process of its
own (`worker`), which `process` starts, limits and ends.
"""
