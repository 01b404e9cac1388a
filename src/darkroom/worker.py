"""A worker of the server: takes jobs out of the store, draws them together, puts the pictures in their place.

It is the only place that knows both the store and the engine. It is a process of its own (``python -m
darkroom.worker``) that the server starts again when it dies; all that they say to each other goes through the store, as
JSON and pictures. A running task cannot be carried over: a job whose worker dies begins anew, from its seed, and so
gives the same picture.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor

from darkroom.contracts import faults
from darkroom.contracts.errors import CannotWrite, DarkroomError
from darkroom.contracts.job import Event, Finished, Job
from darkroom.contracts.prompt import Prompt
from darkroom.contracts.request import Request
from darkroom.drawing.results import Judging, Models, Wanted, plain, task_of
from darkroom.engine import Engine, Outcome
from darkroom.generate import Moment, run
from darkroom.machine.heap import give_back, keep_pages
from darkroom.machine.passes import Passes
from darkroom.machine.threads import share_cores
from darkroom.model import LANES, Model
from darkroom.picture.image import Image
from darkroom.picture.inputs import Inputs
from darkroom.protocols import Call, Task
from darkroom.server.keeping.folders import Folders, located
from darkroom.server.keeping.store import SqliteStore
from darkroom.server.keeping.workers import Workers
from darkroom.synthesis.combine import METHODS
from darkroom.synthesis.guidance import relayed
from darkroom.synthesis.samplers import SAMPLERS
from darkroom.synthesis.spacing import SPACINGS

WIDTH = 32  # jobs drawn at once: each shows its first step early
POLL_S = 0.02  # between looks for jobs where there are none
BEAT_S = 0.5
ALONE, AMONG = 0.25, 0.02  # of the time, at most, that may go into previews: of one picture, and of several
THUMBNAIL = 256  # pixels, the longer side
EARLY = -1.0  # the turn of a picture that nothing has been seen of: before all others
AGAIN_S = 1.0
REST_S = 20.0  # without a job, after which memory is given back: the next picture takes some milliseconds longer
OF_LATE = 10  # passes
NICE = 5  # the server answers first


@dataclass(slots=True)
class Held:
    """A job that is drawn here: when it would be done had it the machine to itself, and what was seen of it."""

    job: Job
    model: Model
    due: float
    begun: bool = False


class Previews:
    """How much time has gone into them, of all since something is drawn."""

    def __init__(self) -> None:
        self.since, self.spent = time.monotonic(), 0.0

    def affordable(self, at_once: int) -> bool:
        """Whether another one keeps within their share, beside so many pictures."""
        return self.spent <= (ALONE if at_once == 1 else AMONG) * (time.monotonic() - self.since)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts the time within."""
        before = time.monotonic()
        yield
        self.spent += time.monotonic() - before


class Worker:
    """Draws the jobs of a data folder until it is told to stop."""

    def __init__(self, folders: Folders, name: str, *, width: int = WIDTH, grace_s: float = 10.0) -> None:
        """``width`` jobs are drawn at once; ``grace_s`` seconds are given to those that run when it is to stop."""
        self.folders, self.name, self.width, self.grace_s = folders, name, width, grace_s
        self.store = SqliteStore(folders.jobs)
        self.workers = Workers(self.store.database)
        self.models, self.judging = Models(), Judging(None)
        self.engine = Engine[Image](
            self._evaluate,
            turn=self._turn,
            passes=Passes(),
            lanes=LANES,
            large=lambda call: self._model(call).lanes == 1,
        )
        self.keeping = ThreadPoolExecutor(1)  # encodes, tells and syncs to the disk, while the networks are at work
        self.held: dict[int, Held] = {}
        self._drawing: dict[str, Model] = {}  # those that held jobs are drawn with, by the beginning of their calls
        self._seen: deque[tuple[Event, np.ndarray | None]] = deque()  # what happened and what was to be seen, untold
        self._telling = False
        self.previews = Previews()
        self.stopping = threading.Event()
        self._number, self._beaten, self._version = 0, 0.0, -1
        self._seconds = 0.0  # that a pass takes of late
        self._drew = 0.0  # when it last did, until its memory was given back

    def run(self) -> None:
        """Until :attr:`stopping` is set; then what runs is finished within the grace time, or given back."""
        self.models.opened(ANYTHING)
        self.workers.enlist(self.name, os.getpid(), offers())
        ends = None
        while True:
            if self.stopping.is_set():
                ends = ends or time.monotonic() + self.grace_s
                if not self.held or time.monotonic() >= ends:
                    break
            self._round(taking=ends is None)
        self.keeping.shutdown()
        self.store.release(self.name)
        self.workers.dismiss(self.name)

    def _round(self, taking: bool) -> None:
        """One look at the queue and one pass."""
        version = self.store.database.version()
        if version != self._version:
            self._drop_cancelled()
            self._version = version
        with suppress(CannotWrite):  # the disk is full: what is held is drawn on, and more is taken when it is not
            if time.monotonic() - self._beaten >= BEAT_S:
                self.workers.beat(self.name)
                self._beaten = time.monotonic()
            if taking and len(self.held) < 2 * self.width:
                for job in self.store.claim(self.name, self.width):
                    self._begin(job)
        if not self.held:
            self._rest()
            return
        faults.at("worker.round")
        before = time.monotonic()
        for outcome in self.engine.round():
            self._ended(outcome)
        self._drew = time.monotonic()
        self._seconds += (self._drew - before - self._seconds) / OF_LATE
        self._tell()

    def _rest(self) -> None:
        """Waits for jobs; what drawing took of the memory goes back where there have been none for a while."""
        time.sleep(POLL_S)
        self.previews = Previews()
        if self._drew and time.monotonic() - self._drew > REST_S:
            give_back()
            self._drew = 0.0

    # ---- taking a job up

    def _begin(self, job: Job) -> None:
        """Takes up a job, or says why its picture cannot be drawn."""
        try:
            request = located(job.request, self.folders)
            model, inputs = self.models.opened(request), Inputs(None, self.folders.styles)
            wanted = Wanted(request, model.resolve(request, inputs), None)
            index, self._number = self._number, self._number + 1
            held = Held(job, model, time.monotonic() + wanted.load(model).work * self._seconds)
            task = task_of(wanted, model, self.judging, inputs, lambda moment: self._watched(held, moment))
        except Exception as error:
            self._failed(job, error)
            return
        self.held[index] = held
        self._drawing = {str(id(one.model)): one.model for one in self.held.values()}
        for outcome in self.engine.begin(index, addressed(task, str(id(model)))):
            self._ended(outcome)

    def _evaluate(self, calls: Sequence[Call]) -> list[Tensor]:
        """Answers calls of one batch key, and so of one model."""
        faults.at("worker.evaluate")
        faults.at(f"worker.evaluate.{calls[0].network.partition(ADDRESS)[2]}")
        asked = [replace(call, network=call.network.partition(ADDRESS)[2]) for call in calls]
        return self._model(calls[0]).evaluate(asked)

    def _model(self, call: Call) -> Model:
        """Whom a call asks."""
        return self._drawing[call.network.partition(ADDRESS)[0]]

    def _turn(self, index: int) -> float:
        """First what nothing has been seen of; then what would have been done first, had each the machine to itself:
        long pictures do not hold up short ones, and none waits for ever."""
        held = self.held[index]
        return held.due if held.begun else EARLY

    # ---- what is seen of it

    def _watched(self, held: Held, moment: Moment) -> None:
        """Tells of a step; of the clean estimate as a picture, where there is time for it."""
        how_far = {"stage": moment.stage, "step": moment.step, "steps": moment.steps, "message": moment.note}
        pixels = None
        if moment.x0 is not None and (not held.begun or self.previews.affordable(len(self.held))):
            with self.previews.counted():
                pixels = previewed(held.model, moment.x0)
        held.begun = held.begun or moment.x0 is not None
        self._seen.append((Event(job=held.job.id, kind="progress", **how_far), pixels))

    # ---- ending it

    def _drop_cancelled(self) -> None:
        kept = self.store.held(self.name) if self.held else set()
        for index, held in list(self.held.items()):
            if held.job.id not in kept:
                del self.held[index]
                self.engine.drop(index)

    def _ended(self, outcome: Outcome[Image]) -> None:
        """Has the picture kept, or told why there is none, while others are drawn on."""
        held = self.held.pop(outcome.index)
        self._tell()
        self.keeping.submit(self._keep, held.job, outcome)

    def _keep(self, job: Job, outcome: Outcome[Image]) -> None:
        try:
            if outcome.error is not None:
                raise outcome.error
            assert outcome.result is not None
            self.store.finish(job.id, worker=self.name, finished=self._published(outcome.result))
        except Exception as error:
            self._failed(job, error)

    def _tell(self) -> None:
        """Has told what happened, before anything that is kept from now on."""
        if self._seen and not self._telling:
            self._telling = True
            self.keeping.submit(self._told)

    def _told(self) -> None:
        self._telling = False
        events = []
        while self._seen:
            event, pixels = self._seen.popleft()
            if pixels is not None:
                with self.previews.counted():
                    event = event.model_copy(update={"kind": "preview", "preview": small(pixels)})
            events.append(event)
        with suppress(CannotWrite):  # else the disk is full: nobody hears of it
            self.store.record(events)

    def _published(self, image: Image) -> Finished:
        """Puts a picture in its place."""
        faults.at("worker.publish")
        name, digest = self.folders.publish_picture(image.encoded("png"))
        height, width = image.pixels.shape[:2]
        return Finished(
            picture=name,
            sha256=digest,
            width=width,
            height=height,
            recipe=image.recipe.to_json(),
            prompt=image.recipe.prompt.text,
            thumbnail=small(image.pixels),
        )

    def _failed(self, job: Job, error: Exception) -> None:
        """Says in the store why there is no picture; a fault of ours with its traceback on stderr, too."""
        told = plain(error, f"{job.request.width or 'a'}x{job.request.height or 'picture'}")
        if not isinstance(told, DarkroomError):
            traceback.print_exception(error, file=sys.stderr)
        code = told.code if isinstance(told, DarkroomError) else "fault"
        while True:
            try:
                if job.id in self.store.held(self.name):  # else it was cancelled meanwhile
                    self.store.fail(job.id, worker=self.name, error=code, message=str(told) or type(told).__name__)
                return
            except CannotWrite:  # the store's disk is full: it is said when it takes something again
                if self.stopping.wait(AGAIN_S):
                    return


ANYTHING = Request(prompt=Prompt(text="anything"))  # what the first model is opened for
ADDRESS = "\0"  # between the name of a model and that of a network of its own


def addressed(task: Task[Image], address: str) -> Task[Image]:
    """The same task, whose calls say which model they are for: those of several share passes with their own alone."""
    return (yield from relayed(task, lambda call: replace(call, network=f"{address}{ADDRESS}{call.network}")))


def previewed(model: Model, x0: Tensor) -> np.ndarray:
    """A clean estimate as pixels, (height, width, 3) uint8."""
    pixels = run(model.codec.decode(x0), model.evaluate)
    return (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def small(pixels: np.ndarray) -> bytes:
    """A picture as a WebP of at most THUMBNAIL pixels a side. ``pixels`` are (height, width, 3 or 4) uint8."""
    picture = Picture.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Picture.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=0)
    return file.getvalue()


def offers() -> dict[str, Any]:
    """What the server cannot know without torch: names it publishes with its schema, and what pictures are made on."""
    return {
        "sampler": sorted(SAMPLERS),
        "spacing": sorted(SPACINGS),
        "guidance_method": sorted(METHODS),
        "torch": torch.__version__,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """A worker's process. It stops in good order at SIGTERM, and when whoever started it is gone (stdin ends)."""
    parser = argparse.ArgumentParser(prog="darkroom.worker", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the server's data")
    parser.add_argument("--name", required=True, help="its name, which no other worker has")
    parser.add_argument("--width", type=int, default=WIDTH, help="jobs drawn at once")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds for what runs when it is to stop")
    told = parser.parse_args(arguments)
    os.nice(NICE)
    worker = Worker(Folders(told.data), told.name, width=told.width, grace_s=told.grace)
    signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the server says when to stop
    threading.Thread(target=_until_alone, args=[worker], daemon=True).start()
    worker.run()


def _until_alone(worker: Worker) -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    worker.stopping.set()


if __name__ == "__main__":
    share_cores()
    keep_pages()
    main()
