"""`vervet serve`: an OpenAI-compatible endpoint in front of any model, where the model's name chooses a strategy.

    verified-64:openai/gpt-x    up to 64 samples, the first that the request's verifier accepts
    best-of-16:openai/gpt-x     the best of 16 by the server's scorer
    majority-32:openai/gpt-x    the answer given most often among 32
    openai/gpt-x                one sample

`settings` is what the operator says, `wire` the protocol, `desk` what is behind the routes of `app`, `exchange` one request's
work, `archive` the ledger behind it, `server` the socket and its end. No cache: what one client sends and gets is seen by
nobody else.
"""
