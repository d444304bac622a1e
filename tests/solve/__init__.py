"""Solve: one answer, verified."""
