"""A fixed portfolio of automatic tactics as a model: `tactics/rocq`, `tactics/lean`.

Each sample is one script, drawn evenly from the list by the sample's own seed, so that samples are independent draws
and coverage at k means what it means for any model. It knows nothing of the problem: what it closes is the share of a
benchmark that needs no idea at all, a baseline that costs nothing.
"""

from __future__ import annotations

from vervet.errors import UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Reply, Request, Usage

ROCQ = (
    "intros; lra.",
    "intros; nra.",
    "intros; lia.",
    "intros; nia.",
    "intros; ring.",
    "intros; field.",
    "intros; field; lra.",
    "intros; subst; lra.",
    "intros; subst; lia.",
    "intros; subst; field.",
    "intros; reflexivity.",
    "intros; vm_compute; reflexivity.",
    "intros; subst; vm_compute; reflexivity.",
    "intros; subst; compute; lra.",
    "intros; subst; simpl; lra.",
    "intros; repeat match goal with H : _ /\\ _ |- _ => destruct H end; lra.",
    "intros; repeat match goal with H : _ /\\ _ |- _ => destruct H end; nra.",
    "intros; repeat match goal with H : _ /\\ _ |- _ => destruct H end; lia.",
    "intros; repeat match goal with H : _ /\\ _ |- _ => destruct H end; subst; nra.",
    "intros; repeat match goal with H : forall _, _ = _ |- _ => rewrite H in * end; lra.",
    "intros; repeat match goal with H : forall _, _ = _ |- _ => rewrite H in * end; lia.",
    "intros; repeat match goal with H : forall _, _ = _ |- _ => rewrite H in * end; field.",
    "intros; repeat split; lra.",
    "intros; repeat split; lia.",
)
LEAN = (
    "norm_num",
    "norm_num at *",
    "linarith",
    "nlinarith",
    "ring",
    "ring_nf",
    "field_simp\nring",
    "omega",
    "decide",
    "rfl",
    "simp",
    "simp_all",
    "aesop",
    "positivity",
    "norm_num at *\nlinarith",
    "norm_num [*] at *",
    "simp_all\nnorm_num",
    "simp_all\nlinarith",
    "nlinarith [sq_nonneg (a - b)]",
    "intros\nlinarith",
    "intros\nomega",
    "constructor <;> linarith",
    "subst_vars\nnorm_num",
    "interval_cases x <;> omega",
)
PORTFOLIOS = {"rocq": ROCQ, "lean": LEAN}
_BATCH = 64


class Tactics:
    """`tactics/rocq` and `tactics/lean`: draws from a fixed list of proof scripts."""

    def __init__(self, name: str, setup: SamplerSetup) -> None:  # noqa: ARG002  every sampler is built alike
        """Raises: UserError for another name."""
        if name not in PORTFOLIOS:
            raise UserError(
                f"unknown model 'tactics/{name}': choose one of {', '.join(f'tactics/{n}' for n in PORTFOLIOS)}"
            )
        self._scripts = PORTFOLIOS[name]
        self._fence = name

    def traits(self) -> SamplerTraits:
        """Chat: a script comes in a fenced block."""
        return SamplerTraits(form="chat", max_n=_BATCH, max_in_flight=64)

    async def sample(self, request: Request) -> Reply:
        """One script a sample."""
        drawn = [self._scripts[request.seed_of(j) % len(self._scripts)] for j in range(request.n)]
        completions = tuple(
            Completion(f"```{self._fence}\n{s}\n```", completion_tokens=max(1, len(s) // 4)) for s in drawn
        )
        total = sum(c.completion_tokens or 0 for c in completions)
        return Reply(completions, Usage(prompt_tokens=0, completion_tokens=total), "tactics")

    async def aclose(self) -> None:
        """Nothing to close."""
