"""What tests of Vervet and of its plug-ins share: fakes, a conformance suite for each seam, a network guard.

One file a seam: samplers, tasks, verifiers, executors, policies, sandboxes, scorers, selectors. Each holds `check_...`
functions, one a promise, and `conform_to_...`, which runs them all and says in one AssertionError which promises are
broken. They are plain functions that any test runner can call, inside a running event loop too::

    from vervet.testing.verifiers import conform_to_verifier

    def test_my_verifier() -> None:
        conform_to_verifier(MyVerifier, Problem("p", {"expected": "4"}), right="4", wrong="5", malformed=[{}])
"""
