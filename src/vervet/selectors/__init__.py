"""Selectors: which of several samples to hand back. What to expect of them is in `vervet.estimate.selection`."""
