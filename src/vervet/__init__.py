"""Vervet: repeated sampling for language models.

Draw many independent attempts at each problem, verify every one, and read off coverage with honest error bars::

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    curve = vervet.coverage(run.counts(), k=[1, 10, 100])

Names are imported when they are first used, so that `import vervet` costs next to nothing. Which there are, and where, says
`__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
