"""What runs inside a container, and what builds one.

These modules import the standard library and each other only, so that they work in a bare interpreter started with
`-S`: `launch.py` is the program, the rest are its parts. The driver imports them for their formats (`wire`, `codec`).

::

    launch (host) -> builds the root, starts the container's PID 1, watches it, cleans up
      zygote (PID 1, root of a user namespace without power outside)  never sees a text
        tester     (uid 1)        holds the tests, never executes an answer
        candidate  (uid 10000+)   holds one answer, dies after it
"""
