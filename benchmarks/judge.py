"""Milliseconds the judge takes for a picture: alone, sixteen together, ranked by a sentence; and what its files weigh.

    python benchmarks/judge.py [--judge FOLDER] [--runs 21] [--threads 2] [--json]

Without a folder an untrained judge of the default size is measured: it sees nothing, in the same time. Medians, and the
ratio to one evaluation of the embedded model in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from darkroom.cards import EMBEDDED
from darkroom.contracts.request import Request
from darkroom.generate import picture, run
from darkroom.judge.expect import Expectation, Wanted
from darkroom.judge.judge import CARD, WEIGHTS, WORDS, Judge, load_judge, save_judge
from darkroom.model import load
from darkroom.nn.matching import reader_config
from darkroom.training.objectives.judge import JudgeTraining, detector_config
from darkroom.wording.tokenizer import Tokenizer

SENTENCE = "a red apple to the left of a blue car, 3d"
EXPECTED = Expectation((Wanted("apple", 1, "red"), Wanted("car", 1, "blue")))


def untrained(folder: Path) -> Path:
    """A judge as large as the default one."""
    torch.manual_seed(0)
    module = JudgeTraining(detector_config(), reader_config(4096))
    networks = {"detector": asdict(module.detector.config), "reader": asdict(module.matching.reader.config)}
    words = Tokenizer.from_json((EMBEDDED / "tokenizer.json").read_text(encoding="utf-8"))
    return save_judge(folder, module.state_dict(), networks, words, {})


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """The median of several calls, after one that warms."""
    work()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1e3)
    return statistics.median(found)


def measured(judge: Judge, runs: int) -> dict[str, float]:
    """What one picture costs, in milliseconds, and one evaluation of the model that draws."""
    model = load("default")
    one, many = torch.rand(1, 3, 128, 128), torch.rand(16, 3, 128, 128)
    sights = judge.look(one)
    steps = [model.resolve(Request.model_validate({"prompt": SENTENCE, "steps": n})) for n in (1, 9)]
    short, long = (milliseconds(lambda r=r: run(picture(r, model), model.evaluate), runs) for r in steps)  # type: ignore[misc]
    return {
        "verdict, alone": milliseconds(lambda: judge.verdict(one[0], EXPECTED), runs),
        "look, sixteen together": milliseconds(lambda: judge.look(many), runs) / 16,
        "fit of a sentence": milliseconds(lambda: judge.fit(sights, [SENTENCE]), runs),
        "one step of the model": (long - short) / 8,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with TemporaryDirectory() as made:
        folder = asked.judge or untrained(Path(made))
        judge = load_judge(folder)
        weighs = sum((folder / name).stat().st_size for name in (WEIGHTS, CARD, WORDS)) / 1e6
        found = measured(judge, asked.runs)
    if asked.json:
        print(json.dumps({"threads": asked.threads, "torch": torch.__version__, "megabytes": weighs, "ms": found}))
        return
    print(f"{asked.threads} thread(s), medians of {asked.runs} runs; {weighs:.2f} MB")
    step = found["one step of the model"]
    for name, value in found.items():
        print(f"{name:<26}{value:8.2f} ms{value / step:8.2f} steps of the model")


if __name__ == "__main__":
    main()
