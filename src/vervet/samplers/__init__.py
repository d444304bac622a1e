<<<<<<< HEAD
"""Samplers: one file a backend. Each satisfies `vervet.protocols.Sampler`."""
=======
"""Where samples come from. One file a backend."""
>>>>>>> local
