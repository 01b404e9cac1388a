"""The server under load: against the engine alone, and against drawing one request after the other.

    python benchmarks/serving.py [--clients 32] [--each 2] [--runs 3] [--json]

The same mixed requests (steps, samplers, guidance, sizes) three times in one run: through the server over HTTP from
many clients at once, through the engine in this process, and in a plain loop. Printed are pictures a second, and how
long a client waits for the first preview and for the whole picture; of the loop and the engine as if all had asked at
once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from darkroom.machine.threads import share_cores

share_cores()  # before torch is there, as in every process of darkroom's; all three ways then wait alike

from darkroom.contracts.request import Request  # noqa: E402
from darkroom.engine import Engine  # noqa: E402
from darkroom.generate import Moment, picture, run  # noqa: E402
from darkroom.machine.heap import keep_pages  # noqa: E402
from darkroom.model import Model, load  # noqa: E402
from darkroom.picture.image import Image  # noqa: E402
from tests.studio import Server, studio  # noqa: E402

PROMPTS = ("a red fox", "a castle in the snow", "three yellow tulips, cartoon", "a black cat", "an apple, 3d")
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"steps": 6},
    {"steps": 8, "sampler": "heun"},
    {"steps": 20, "sampler": "euler", "guidance": 1.0},
    {"steps": 12, "sampler": "euler-a", "guidance": 5.0},
    {"steps": 10, "width": 192, "height": 256},
    {"steps": 16, "upscale": 1, "width": 128, "height": 128},
)


@dataclass
class Waits:
    """Seconds from asking to the first preview and to the picture, of each request, and to the last picture of all."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    last: float = 0.0

    def told(self) -> dict[str, float]:
        """What is compared."""
        return {
            "pictures a second": len(self.whole) / self.last,
            "first preview, mean": statistics.mean(self.first),
            "first preview, median": statistics.median(self.first),
            "picture, median": statistics.median(self.whole),
            "picture, worst": max(self.whole),
        }


def requests(count: int) -> list[dict[str, Any]]:
    """Mixed requests."""
    return [{"prompt": PROMPTS[i % len(PROMPTS)], "seed": i, **WAYS[i % len(WAYS)]} for i in range(count)]


def served(server: Server, asked: list[dict[str, Any]], clients: int) -> Waits:
    """All of them through the server, from so many clients, each of which asks for its next when it has its last."""
    waits, lock, began = Waits(), threading.Lock(), time.perf_counter()

    def client(mine: list[dict[str, Any]]) -> None:
        for one in mine:
            first, whole = followed(server.port, one)
            with lock:
                waits.first.append(first)
                waits.whole.append(whole)
                waits.last = time.perf_counter() - began

    threads = [threading.Thread(target=client, args=[asked[i::clients]]) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def followed(port: int, asked: dict[str, Any]) -> tuple[float, float]:
    """Seconds to the first preview and to the picture of one request, by a client that costs little itself."""
    began, first = time.perf_counter(), 0.0
    http = HTTPConnection("127.0.0.1", port, timeout=600)
    http.request("POST", "/api/jobs", json.dumps(asked), {"content-type": "application/json"})
    job = json.load(http.getresponse())["id"]
    http.request("GET", f"/api/jobs/{job}/events")
    for line in http.getresponse():
        if line.startswith(b"event: preview") and not first:
            first = time.perf_counter() - began
        if line.startswith(b"event: failed"):
            raise RuntimeError(f"the job {job} failed")
    whole = time.perf_counter() - began
    return first or whole, whole


def alone(model: Model, asked: list[dict[str, Any]]) -> Waits:
    """All of them through the engine in this process, encoded as the server does."""
    waits, began, firsts = Waits(), time.perf_counter(), {}

    def watch(index: int, moment: Moment) -> None:
        if moment.x0 is not None:
            firsts.setdefault(index, time.perf_counter() - began)

    def tasks() -> Any:
        for i, one in enumerate(asked):
            yield picture(model.resolve(Request.checked(one)), model, lambda moment, i=i: watch(i, moment))  # type: ignore[misc]

    for outcome in Engine[Image](model.evaluate, width=32, lanes=model.lanes).run(tasks()):
        assert outcome.result is not None, outcome.error
        outcome.result.encoded()
        waits.first.append(firsts[outcome.index])
        waits.whole.append(time.perf_counter() - began)
    waits.last = time.perf_counter() - began
    return waits


def loop(model: Model, asked: list[dict[str, Any]]) -> Waits:
    """One after the other, as most servers do."""
    waits, began = Waits(), time.perf_counter()
    for one in asked:
        seen: list[float] = []

        def watch(moment: Moment, seen: list[float] = seen) -> None:
            if moment.x0 is not None:
                seen.append(time.perf_counter() - began)

        run(picture(model.resolve(Request.checked(one)), model, watch), model.evaluate).encoded()
        waits.first.append(seen[0])
        waits.whole.append(time.perf_counter() - began)
    waits.last = time.perf_counter() - began
    return waits


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--each", type=int, default=1, help="requests of each client")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    keep_pages()  # as every process of darkroom's that draws
    asked, model = requests(told.clients * told.each), load()
    found: list[dict[str, dict[str, float]]] = []
    threads = {"OMP_NUM_THREADS": ""}
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder), environment=threads) as server:
        server.worker()
        for number in range(1 + told.runs):
            by = {"server": served(server, asked, told.clients).told()}
            by |= {"engine": alone(model, asked).told(), "loop": loop(model, asked).told()}
            if number:  # the first round warms all three: what passes take is measured, kernels are made
                found.append(by)
    if told.json:
        print(json.dumps({"requests": len(asked), "clients": told.clients, "runs": found}))
        return
    print(f"{len(asked)} mixed requests, {told.clients} clients; medians of {told.runs} runs")
    names = list(found[0])
    print(f"{'':<24}" + "".join(f"{name:>10}" for name in names))
    for what in found[0]["server"]:
        print(f"{what:<24}" + "".join(f"{statistics.median(r[name][what] for r in found):>10.3f}" for name in names))
    for what, against, say in (
        ("pictures a second", "engine", "throughput, server : engine (bar .90)"),
        ("pictures a second", "loop", "throughput, server : loop (bar 1.00)"),
        ("picture, median", "loop", "median picture, server : loop (bar 1.25 at most)"),
    ):
        print(f"{say:<52}{statistics.median(r['server'][what] / r[against][what] for r in found):8.2f}")
    shorter = statistics.median(r["loop"]["first preview, mean"] / r["server"]["first preview, mean"] for r in found)
    print(f"{'first preview, loop : server (bar 5)':<52}{shorter:8.2f}")


if __name__ == "__main__":
    main()
