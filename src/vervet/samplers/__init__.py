"""Samplers: one file a backend. Each satisfies `vervet.protocols.Sampler`."""
