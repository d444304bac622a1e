"""The sync door: what the command line, notebooks and scripts call. Only here are real parts put together.

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    run.counts()
    run.samples("HumanEval/3")

`run` samples and verifies; `sample` and `verify` are its halves; `resume` needs nothing but the folder. Each has an async
twin (`arun`, ...). A repeat of the same call resumes: nothing that is stored is drawn again.

Names are imported when they are first used: a command loads what it needs and no more. Which there are, and where, says
`__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
