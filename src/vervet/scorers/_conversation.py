"""What a scorer reads: the question and the sample, as text or as chat messages."""

from __future__ import annotations

from vervet.records import Problem, Sample, prompt_from_json

PROMPT = "vervet.prompt"
# where the rendered prompt is found in a problem's data


def question(problem: Problem) -> str:
    """The question alone, without examples, where the task keeps it; else the prompt's last user message, or all of it."""
    kept = problem.data.get("question")
    if isinstance(kept, str) and kept:
        return kept
    given = problem.data.get(PROMPT, problem.data.get("prompt", ""))
    prompt = prompt_from_json(given)
    if isinstance(prompt, str):
        return prompt
    return next((m.content for m in reversed(prompt) if m.role == "user"), "")


def messages(problem: Problem, sample: Sample) -> list[dict[str, str]]:
    """A conversation that ends with the sample."""
    return [{"role": "user", "content": question(problem)}, {"role": "assistant", "content": clean(sample.text)}]


def clean(text: str) -> str:
    """Valid Unicode: half characters, which JSON and tokenizers refuse, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
