"""Bad input, generated from seeds: command lines, files, checkpoints, case files and library calls (``make fuzz``)."""
