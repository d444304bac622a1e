"""Arrays in, arrays out: every number that Vervet prints starts here.

numpy and scipy only; no files, no runs.
"""
