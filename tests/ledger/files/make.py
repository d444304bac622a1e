"""How the files beside this one were made, each by the real tool in an environment of its own.

    python3 -m venv A && A/bin/pip install inspect_ai && A/bin/python make.py inspect
    python3 -m venv B && B/bin/pip install lm_eval    && B/bin/python make.py lm_eval

Numbers that the tools themselves report are printed; the tests hold them.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def inspect() -> None:
    """3 problems x 4 epochs, texts short, long and empty; two scorers."""
    import inspect_ai
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes, match
    from inspect_ai.solver import generate

    random.seed(0)

    def output(text: str) -> ModelOutput:
        made = ModelOutput.from_content("mockllm/model", text)
        made.usage = ModelUsage(input_tokens=5, output_tokens=len(text.split()), total_tokens=5 + len(text.split()))
        return made

    texts = ("The answer is " * 30 + "4", "I think 5", "", "4")
    model = get_model("mockllm/model", custom_outputs=[output(random.choice(texts)) for _ in range(12)])
    problems = [Sample(id=f"q{i}", input="2 + 2?", target="4") for i in range(3)]
    task = inspect_ai.Task(dataset=problems, solver=generate(), scorer=[includes(), match()], epochs=4)
    with tempfile.TemporaryDirectory() as folder:
        log = inspect_ai.eval(task, model=model, log_dir=folder, display="none", max_connections=1)[0]
        (path,) = Path(folder).glob("*.eval")
        path.replace(HERE / "inspect.eval")
    print({score.name: score.metrics["accuracy"].value for score in log.results.scores})


def lm_eval() -> None:
    """6 problems; the tool's own dummy model says "lol", which is right for four of them."""
    task = """task: toy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{{{q}}}} A:"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["\\n"]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
filter_list:
  - {{name: strict, filter: [{{function: regex, regex_pattern: "^(lol)$"}}, {{function: take_first}}]}}
  - {{name: digits, filter: [{{function: regex, regex_pattern: "([0-9]+)"}}, {{function: take_first}}]}}
"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"q": f"{i} + {i}?", "a": "lol" if i < 4 else str(2 * i)} for i in range(6)]
        (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "toy.yaml").write_text(task.format(data=folder / "data.jsonl"))
        line = [
            str(Path(sys.executable).with_name("lm_eval")),
            "--model",
            "dummy",
            "--include_path",
            name,
            "--tasks",
            "toy",
        ]
        subprocess.run([*line, "--output_path", str(folder / "out"), "--log_samples"], check=True)
        (path,) = (folder / "out").rglob("samples_*.jsonl")
        path.replace(HERE / "lm_eval.jsonl")


if __name__ == "__main__":
    {"inspect": inspect, "lm_eval": lm_eval}[sys.argv[1]]()
