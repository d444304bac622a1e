"""Scorers: a number per sample, without looking at what is right."""
