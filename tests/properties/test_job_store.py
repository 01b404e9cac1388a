"""The job store under any order of calls (promise 6): a job has one owner, cancelling hits it alone, ends are final."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from darkroom.contracts.job import FINAL, MOST_LOSSES, Finished, Job
from darkroom.contracts.request import Request
from darkroom.server.keeping.rows import Conflict
from darkroom.server.keeping.store import SqliteStore

WORKERS = ("w0", "w1", "w2", "w3")
OWNERS = ("anna", "ben", "clara")
FOX = Request.checked({"prompt": "a red fox", "seed": 7})
EXAMPLES = int(os.environ.get("DARKROOM_EXAMPLES", "0"))


class Queue(RuleBasedStateMachine):
    """What the store should hold is kept beside it, as plainly as can be."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.sqlite3"
        self.store = SqliteStore(self.path)
        self.state: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.holder: dict[str, str] = {}
        self.losses: dict[str, int] = {}
        self.keys: dict[tuple[str, str], list[str]] = {}
        self.paused = False

    def teardown(self) -> None:
        self.store.database.close()
        self.folder.cleanup()

    @rule(target=jobs, owner=st.sampled_from(OWNERS), count=st.integers(1, 3), key=st.sampled_from([None, "a", "b"]))
    def submit(self, owner: str, count: int, key: str | None) -> object:
        known = self.keys.get((owner, key)) if key else None
        if known is not None and len(known) != count:
            try:
                self.store.submit([FOX] * count, owner=owner, key=key)
            except Conflict:
                return multiple()
            raise AssertionError("a key was taken for two requests")
        found = [job.id for job in self.store.submit([FOX] * count, owner=owner, key=key)]
        if known is not None:
            assert found == known
            return multiple()
        if key:
            self.keys[owner, key] = found
        for job in found:
            assert job not in self.state
            self.state[job], self.owner[job], self.losses[job] = "queued", owner, 0
        return multiple(*found)

    @rule(worker=st.sampled_from(WORKERS), most=st.integers(0, 4))
    def claim(self, worker: str, most: int) -> None:
        held = [job for job, holder in self.holder.items() if holder == worker]
        given = [job.id for job in self.store.claim(worker, most)]
        assert not (self.paused and given)
        for job in given:
            assert self.state[job] == "queued"
            self.state[job], self.holder[job] = "running", worker
        together = held + given
        assert len(together) <= max(2 * most, len(held))
        if given and any(self.losses[job] for job in together):
            assert len(together) == 1, "a job that a worker died over is run alone"
        waiting = [job for job, state in self.state.items() if state == "queued"]
        if most and waiting and not held and not self.paused:
            assert given, "whoever holds nothing gets something"

    @rule(job=jobs, worker=st.sampled_from(WORKERS), well=st.booleans())
    def end(self, job: str, worker: str, well: bool) -> None:
        told = Finished(picture=f"{job}.png", sha256="0" * 64, width=64, height=64, recipe="{}", thumbnail=b"")
        try:
            if well:
                self.store.finish(job, worker=worker, finished=told)
            else:
                self.store.fail(job, worker=worker, error="fault", message="no")
        except Conflict:
            assert self.holder.get(job) != worker
        else:
            assert self.holder.pop(job) == worker
            self.state[job] = "done" if well else "failed"

    @rule(job=consumes(jobs))
    def cancel(self, job: str) -> None:
        try:
            self.store.cancel(job)
        except Conflict:
            assert self.state[job] in FINAL
        else:
            assert self.state[job] not in FINAL
            self.state[job] = "cancelled"
            self.holder.pop(job, None)

    @rule(worker=st.sampled_from(WORKERS), died=st.booleans())
    def leave(self, worker: str, died: bool) -> None:
        held = {job for job, holder in self.holder.items() if holder == worker}
        found = (self.store.lose if died else self.store.release)(worker)
        assert {job.id for job in found} == held
        for job in held:
            del self.holder[job]
            self.losses[job] += died
            self.state[job] = "failed" if self.losses[job] >= MOST_LOSSES else "queued"

    @rule(job=jobs, other=jobs, priority=st.integers(-2, 2))
    def reorder(self, job: str, other: str, priority: int) -> None:
        waits = self.state[job] == "queued"
        try:
            self.store.line.prioritise(job, priority)
            assert waits
            self.store.line.move(job)
        except Conflict:
            assert not waits
            return
        line = [one for one in self.state if self.state[one] == "queued" and self.owner[one] == self.owner[job]]
        places = self.store.line.positions(line)
        assert len(set(places.values())) == len(line)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.store.line.pause(paused)
        self.paused = paused

    @rule()
    def restart(self) -> None:
        self.store.database.close()
        self.store = SqliteStore(self.path)

    @invariant()
    def holds_what_it_should(self) -> None:
        found = {job.id: job for job in self.store.listed(most=10_000)}
        assert found.keys() == self.state.keys()
        for job, told in found.items():
            self._agrees(job, told)
        for worker in WORKERS:
            assert self.store.held(worker) == {job for job, holder in self.holder.items() if holder == worker}

    def _agrees(self, job: str, told: Job) -> None:
        assert (told.state, told.owner, told.losses) == (self.state[job], self.owner[job], self.losses[job])
        assert told.worker == self.holder.get(job)
        assert (told.picture is not None) == (told.state == "done")
        newest = self.store.events(job=job)[-1][1]
        assert newest.kind == told.state


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=max(12, EXAMPLES // 50), stateful_step_count=50, deadline=None, print_blob=True
)
