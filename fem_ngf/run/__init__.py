"""Cases and the command line: one script a problem, one directory a run."""
