"""Executors: where verification work runs."""
