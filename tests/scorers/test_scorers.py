"""Scorers keep the promises of their seam, whatever stands behind them: functions, judges, servers, classifiers."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sys

import pytest

from tests.scorers.server import serving
from tests.scorers.tiny import JOINED, TURNS, TinyModel, tiny_classifier
from vervet.api.scoring import build_scorer
from vervet.errors import BadOption, UnknownName
from vervet.protocols import SamplerTraits, ScorerSetup
from vervet.records import Completion, Message, Problem, Reply, Sample, prompt_to_json
from vervet.scorers.judge import Judge, yes_share
from vervet.testing.scorers import conform_to_scorer

PROBLEM = Problem("p", {}, {"vervet.prompt": prompt_to_json((Message("user", "What is 2 + 2?"),))})


def _sample(index, text, **more):
    return Sample("p", index, text, "stop", 4, index, answer=text or None, **more)


SAMPLES = [_sample(0, "It is 4."), _sample(1, "It is 5, I think."), _sample(2, ""), _sample(3, "4")]


def length(problem, sample):
    """A function as anybody would write it."""
    return None if not sample.text else 1 / len(sample.text)


async def slow_length(problem, sample):
    await asyncio.sleep(0)
    return length(problem, sample)


class FirstTokens:
    """A model that says Yes the surer the longer the prompt, and can say so exactly."""

    def traits(self):
        return SamplerTraits("chat", 4, 8, "weights-1")

    async def first_tokens(self, prompt, top):
        yes = 1 / (1 + math.exp(-len(prompt[0].content) % 7))
        return {"Yes": 0.5 * yes, " yes": 0.3 * yes, "No": 0.8 * (1 - yes), "Maybe": 0.2}

    async def sample(self, request):
        raise AssertionError("probabilities are at hand: nothing has to be drawn")

    async def aclose(self):
        """Nothing to close."""


class Voter:
    """A model that replies by the request's seed and gives at most three replies at once."""

    def __init__(self, replies=("Yes", "no.", "Perhaps", " YES!")):
        self.replies, self.asked = replies, []

    def traits(self):
        return SamplerTraits("chat", 3, 8)

    async def sample(self, request):
        self.asked.append(request)
        texts = [self.replies[request.seed_of(i) % len(self.replies)] for i in range(request.n)]
        return Reply(tuple(Completion(text) for text in texts))

    async def aclose(self):
        """Nothing to close."""


def _setup(sampler=None, url=None):
    return ScorerSetup((url,) if url else (), (lambda name: sampler()) if sampler else None)


def _scores(scorer, samples=SAMPLES, problem=PROBLEM):
    async def work():
        try:
            return await scorer.score(problem, samples)
        finally:
            await scorer.aclose()

    return asyncio.run(work())


# ---------------------------------------------------------------------------------------------- conformance


@pytest.mark.parametrize("name", ["length", "slow_length"])
def test_functions_conform(name):
    conform_to_scorer(lambda: build_scorer(f"{__name__}:{name}", _setup(), {}), PROBLEM, SAMPLES)


def test_logprob_conforms_and_is_a_mean():
    samples = [dataclasses.replace(s, logprob=-2.0 * (s.index + 1)) for s in SAMPLES[:2]] + SAMPLES[2:]
    conform_to_scorer(lambda: build_scorer("logprob", _setup(), {}), PROBLEM, samples)
    assert _scores(build_scorer("logprob", _setup(), {}), samples) == [-0.5, -1.0, None, None]


@pytest.mark.parametrize("options", [{}, {"template": "{question}? {response}!"}])
def test_a_judge_conforms(options):
    conform_to_scorer(lambda: build_scorer("judge/x/y", _setup(FirstTokens), options), PROBLEM, SAMPLES)


@pytest.mark.parametrize("options", [{"votes": "5"}, {"ask": "rating", "votes": 2}])
def test_a_judge_that_votes_conforms(options):
    replies = ("7", "10.", "I say 3", "no idea") if "ask" in options else ("Yes", "no.", "Perhaps", " YES!")
    conform_to_scorer(lambda: build_scorer("judge/x/y", _setup(lambda: Voter(replies)), options), PROBLEM, SAMPLES)


@pytest.mark.parametrize("api", ["score", "rerank", "classify", "pooling"])
def test_each_form_of_served_model_gives_every_sample_its_score(api):
    with serving(lambda question, response: len(question) + len(response) / 100) as (url, state):
        expected = [len("What is 2 + 2?") + len(s.text) / 100 for s in SAMPLES]
        assert _scores(build_scorer("served/rm", _setup(url=url), {"api": api})) == pytest.approx(expected)
        assert {path for path, _ in state.requests} == {f"/{api}"}


@pytest.mark.parametrize(
    "api", ["score", *(pytest.param(x, marks=pytest.mark.slow) for x in ("rerank", "classify", "pooling"))]
)
def test_served_models_conform(api):
    with serving(lambda question, response: len(response) / 100 - 0.5) as (url, _):
        conform_to_scorer(
            lambda: build_scorer("served/rm", _setup(url=url), {"api": api}), PROBLEM, SAMPLES, size=1 << 12
        )


@pytest.mark.slow
@pytest.mark.parametrize(("template", "labels"), [("", 1), (TURNS, 2)])
def test_a_transformers_classifier_conforms(tmp_path, template, labels):
    folder = tiny_classifier(tmp_path / "tiny", template=template, labels=labels)
    conform_to_scorer(
        lambda: build_scorer(f"hf/{folder}", _setup(), {"max_length": 256}), PROBLEM, SAMPLES, size=1 << 12
    )


@pytest.mark.slow
@pytest.mark.parametrize(("api", "template"), [("score", ""), ("rerank", ""), ("classify", JOINED), ("pooling", TURNS)])
def test_a_served_classifier_scores_as_the_same_model_does_in_process(tmp_path, api, template):
    """Each endpoint runs the model on what it was sent; the template has the model in process read the same text."""
    folder = tiny_classifier(tmp_path / "tiny", template=template)
    inside = _scores(build_scorer(f"hf/{folder}", _setup(), {}))
    assert len(set(inside)) == len(SAMPLES), "a model that does not tell the samples apart shows nothing"
    with serving(TinyModel(folder)) as (url, state):
        assert _scores(build_scorer("served/tiny", _setup(url=url), {"api": api})) == pytest.approx(inside, rel=1e-5)
        assert {path for path, _ in state.requests} == {f"/{api}"}


@pytest.mark.slow
@pytest.mark.parametrize("label", [0, 1, -1])
def test_a_served_classifiers_probability_is_of_the_label_that_is_asked_for(tmp_path, label):
    folder = tiny_classifier(tmp_path / "tiny", template=JOINED, labels=2)
    zero, one = (_scores(build_scorer(f"hf/{folder}", _setup(), {"label": i})) for i in (0, 1))
    share = [1 / (1 + math.exp(a - b)) for a, b in zip(zero, one, strict=True)]
    with serving(TinyModel(folder, activation=True)) as (url, _):
        scores = _scores(build_scorer("served/tiny", _setup(url=url), {"api": "classify", "label": label}))
    assert scores == pytest.approx(share if label else [1 - s for s in share], rel=1e-5)


@pytest.mark.slow
@pytest.mark.network
def test_a_local_judge_and_a_served_classifier_through_one_protocol(tmp_path):
    """A real model in llama.cpp, and a real HTTP server around a real transformers classifier."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from vervet.api.scoring import _models

    folder = tiny_classifier(tmp_path / "tiny")
    with serving(TinyModel(folder, activation=True)) as (url, state):
        served = build_scorer("served/tiny", _setup(url=url), {"api": "classify"})
        judge = build_scorer("judge/local/smollm2-135m", ScorerSetup((), _models((), None)), {})
        for scorer in (served, judge):
            scores = _scores(scorer)
            assert all(score is not None and 0 < score < 1 for score in scores)
            assert len(set(scores)) == len(SAMPLES)
        assert len(state.requests) == 1


# ---------------------------------------------------------------------------------------------- judges


def test_yes_is_weighed_against_no():
    assert yes_share({"Yes": 0.3, " no": 0.1, "The": 0.6}) == pytest.approx(0.75)
    assert yes_share({"**Yes**": 0.2}) == 1.0
    assert yes_share({"The": 1.0}) is None


def test_votes_are_counted_in_requests_of_the_models_size():
    voter = Voter(("Yes",))
    assert _scores(build_scorer("judge/x/y", _setup(lambda: voter), {"votes": 7}), SAMPLES[:1]) == [1.0]
    assert [(r.first, r.n) for r in voter.asked] == [(0, 3), (3, 3), (6, 1)]
    assert "2 + 2" in voter.asked[0].prompt[0].content
    assert "It is 4." in voter.asked[0].prompt[0].content


def test_ratings_become_shares_and_nonsense_no_score():
    assert _scores(build_scorer("judge/x/y", _setup(lambda: Voter(("8",))), {"ask": "rating"}))[0] == pytest.approx(0.8)
    assert _scores(build_scorer("judge/x/y", _setup(lambda: Voter(("11", "x"))), {"ask": "rating"}))[0] is None


def test_what_can_change_a_score_is_in_the_fingerprint():
    def settings(**options):
        return build_scorer("judge/x/y", _setup(Voter), options).settings()

    assert settings() != settings(votes=3) != settings(ask="rating")
    assert settings() != settings(template="{question} {response}")
    exact = build_scorer("judge/x/y", _setup(FirstTokens), {"votes": 3}).settings()
    assert exact == build_scorer("judge/x/y", _setup(FirstTokens), {}).settings(), "no vote is cast"


# ---------------------------------------------------------------------------------------------- servers


def test_a_busy_server_is_asked_again_and_a_refused_text_has_no_score():
    with serving(lambda question, response: float(len(response))) as (url, state):
        state.busy, state.refuses = 2, "I think"
        assert _scores(build_scorer("served/rm", _setup(url=url), {})) == [8.0, None, 0.0, 1.0]


def test_a_key_goes_to_the_server_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame")
    with serving(lambda question, response: 1.0) as (url, state):
        scorer = build_scorer("served/rm", _setup(url=url), {"key_env": "MY_KEY"})
        _scores(scorer)
        assert state.headers[0]["Authorization"] == "Bearer sesame"
        assert "sesame" not in repr(scorer.settings())


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'{"data": [{"index": 0, "score": 1}]}', b'{"data": "x"}', b'{"data": [{}, {}]}']
)
def test_an_answer_that_is_no_score_is_an_error(raw):
    with serving(lambda question, response: 1.0) as (url, state):
        state.raw = raw
        with pytest.raises(ValueError, match=r"server|answer"):
            _scores(build_scorer("served/rm", _setup(url=url), {}), SAMPLES[:2])


def test_a_server_that_is_not_there():
    scorer = build_scorer("served/rm", _setup(url="http://127.0.0.1:9/v1"), {"patience": 0.0})
    with pytest.raises(ConnectionError, match="cannot be reached"):
        _scores(scorer)


def test_a_path_that_the_server_does_not_have():
    with serving(lambda question, response: 1.0) as (url, _):
        scorer = build_scorer("served/rm", _setup(url=f"{url}/other"), {})
        with pytest.raises(ConnectionError, match="404"):
            _scores(scorer)


# ---------------------------------------------------------------------------------------------- names and options


@pytest.mark.parametrize(
    ("name", "url"),
    [("judge/x", None), ("served/x", None), ("served/", "http://h"), ("hf/", None), ("logprob/x", None)],
)
def test_names_that_lack_something(name, url):
    with pytest.raises(BadOption):
        build_scorer(name, _setup(Voter, url), {})


def test_unknown_scorers_and_options():
    with pytest.raises(UnknownName, match="judge"):
        build_scorer("juge/local/x", _setup(), {})
    with pytest.raises(BadOption, match="votes"):
        build_scorer("judge/x/y", _setup(Voter), {"vote": 3})
    with pytest.raises(BadOption, match="template"):
        Judge("x/y", _setup(Voter), template="no places")


def test_a_changed_function_is_another_scorer(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    marks = []
    for name, body in (("one", "return 1.0"), ("two", "return 2.0")):
        (tmp_path / f"scorer_{name}.py").write_text(f"def f(problem, sample):\n    {body}\n")
        marks.append(build_scorer(f"scorer_{name}:f", _setup(), {}).settings())
        sys.modules.pop(f"scorer_{name}")
    assert marks[0] != marks[1]
