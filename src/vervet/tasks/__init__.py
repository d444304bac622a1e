"""Benchmarks: data set, prompts, how an answer is found in a text. One file each."""
