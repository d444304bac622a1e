"""Answers in, verdicts out: one file a way of deciding."""
