"""Policies: how many samples each problem should get, as a pure function of what is stored."""
