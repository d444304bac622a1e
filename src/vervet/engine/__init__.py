"""The engine: plan what is missing, draw it, verify it, store it. It receives objects that satisfy the protocols."""
