"""Counts -> result objects. Each result's `to_dict()` is the JSON document of its command."""
