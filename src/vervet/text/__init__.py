"""Text that tasks and verifiers both need to understand: code fences, normalisation of mathematics."""
