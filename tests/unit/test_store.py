"""Jobs in SQLite: what is acknowledged stays, owners take turns, what kills workers is fenced."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from darkroom.contracts.errors import BadFile, BadInput, NoSpace
from darkroom.contracts.faults import VARIABLE
from darkroom.contracts.job import MOST_LOSSES, Event, Finished, Job
from darkroom.contracts.request import Request
from darkroom.server.keeping.database import MIGRATIONS, Database
from darkroom.server.keeping.gallery import Gallery, NoPicture
from darkroom.server.keeping.rows import Conflict, NoJob
from darkroom.server.keeping.store import POISON, Full, SqliteStore

FOX = Request.checked({"prompt": "a red fox", "seed": 7})


def finished(name: str = "a.png", prompt: str = "a red fox") -> Finished:
    told = {"picture": name, "sha256": "0" * 64, "width": 256, "height": 192, "recipe": "{}", "prompt": prompt}
    return Finished(**told, thumbnail=b"small")


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "jobs.sqlite3")


def submit(store: SqliteStore, count: int = 1, owner: str = "local", **how: object) -> list[str]:
    return [job.id for job in store.submit([FOX] * count, owner=owner, **how)]  # type: ignore[arg-type]


def claimed(store: SqliteStore, most: int = 1, worker: str = "w") -> list[str]:
    return [job.id for job in store.claim(worker, most)]


def kinds(store: SqliteStore, job: str) -> list[str]:
    return [event.kind for _, event in store.events(job=job)]


def test_a_job_on_its_way(store: SqliteStore) -> None:
    [job] = submit(store)
    assert store.get(job).state == "queued" and store.line.positions([job]) == {job: 0}
    assert claimed(store) == [job] and claimed(store) == []
    store.record([Event(job=job, kind="preview", stage="synthesise", step=1, steps=4, preview=b"\xff\x00")])
    done = store.finish(job, worker="w", finished=finished())
    assert (done.state, done.picture, done.worker, done.final) == ("done", "a.png", None, True)
    assert kinds(store, job) == ["queued", "running", "preview", "done"]
    numbers = [number for number, _ in store.events(job=job)]
    assert all(one < other for one, other in pairwise(numbers)) and store.newest_event() == numbers[-1]
    assert [event.kind for _, event in store.events(after=numbers[1])] == ["preview", "done"]
    assert store.events(job=job)[2][1].preview == b"\xff\x00"
    assert store.counts() == {"done": 1}


def test_what_is_synced_and_what_is_not(store: SqliteStore) -> None:
    with store.database.writing() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with store.database.writing(durable=False) as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 1


def test_a_seed_is_chosen_when_a_job_is_kept(store: SqliteStore) -> None:
    [job] = store.submit([Request.checked({"prompt": "a fox", "variation": 0.2})])
    assert job.request.seed is not None and job.request.variation_seed is not None
    assert store.get(job.id).request == job.request


def test_the_same_key_is_the_same_jobs(store: SqliteStore) -> None:
    first = submit(store, 2, key="k")
    assert submit(store, 2, key="k") == first
    assert submit(store, 2, key="k", owner="anna") != first  # of another owner it is another key
    with pytest.raises(Conflict, match="came with another request before; give a new one"):
        submit(store, 1, key="k")
    assert len(store.listed()) == 4


def test_all_or_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite3", most_queued=5, most_queued_each=3)
    submit(store, 3)
    with pytest.raises(Full, match="your queue holds 3 jobs and takes 3 at most"):
        submit(store, 1)
    with pytest.raises(Full, match="the queue holds 3 jobs and takes 5 at most"):
        submit(store, 3, owner="anna")
    assert len(store.listed()) == 3
    submit(store, 2, owner="anna")


def test_unknown_jobs(store: SqliteStore) -> None:
    for ask in (store.get, store.cancel, store.retry, store.line.move, lambda job: store.line.prioritise(job, 1)):
        with pytest.raises(NoJob, match="the job 'nope' is not here"):
            ask("nope")


def test_owners_take_turns(store: SqliteStore) -> None:
    """Fair share: who has asked for a thousand does not hold up who asks for one."""
    many = submit(store, 30, owner="anna")
    assert claimed(store, 4) == many[:4]
    [bens] = submit(store, owner="ben")
    assert claimed(store, 4) == [bens]  # beyond the width: none of his was running
    claras = submit(store, 2, owner="clara")
    assert claimed(store, 4) == [claras[0]]
    store.finish(many[0], worker="w", finished=finished())
    store.finish(many[1], worker="w", finished=finished())
    store.finish(bens, worker="w", finished=finished())
    assert claimed(store, 4) == [claras[1]]  # one of hers runs, two of anna's do


def test_positions_are_in_turns(store: SqliteStore) -> None:
    many, [bens] = submit(store, 4, owner="anna"), submit(store, owner="ben")
    assert store.line.positions([*many, bens]) == {many[0]: 0, many[1]: 2, many[2]: 3, many[3]: 4, bens: 0}


def test_the_order_of_ones_own(store: SqliteStore) -> None:
    a, b, c, d = submit(store, 4)
    store.line.move(d)
    store.line.move(c, before=b)
    assert store.line.positions([a, b, c, d]) == {d: 0, a: 1, c: 2, b: 3}
    store.line.prioritise(b, 2)
    assert store.line.positions([a, b, c, d]) == {b: 0, d: 1, a: 2, c: 3}
    with pytest.raises(BadInput, match="has another owner or priority"):
        store.line.move(a, before=b)
    assert claimed(store, 4) == [b, d, a, c]
    with pytest.raises(Conflict, match="which is running, waits no more"):
        store.line.move(a)


def test_a_pause_begins_nothing(store: SqliteStore) -> None:
    [job] = submit(store)
    store.line.pause()
    assert store.line.paused() and claimed(store) == []
    store.line.pause(False)
    assert claimed(store) == [job]


def test_cancelling_hits_its_job_alone(store: SqliteStore) -> None:
    a, b, c = submit(store, 3)
    [bens] = submit(store, owner="ben")
    claimed(store, 1)
    store.cancel(a)
    assert store.held("w") == {bens} and store.get(a).state == "cancelled"
    with pytest.raises(Conflict, match="is not held by the worker w"):
        store.finish(a, worker="w", finished=finished())
    with pytest.raises(Conflict, match="can only be cancelled before it ends"):
        store.cancel(a)
    assert [job.id for job in store.cancel_all("local")] == [b, c]
    assert store.get(bens).state == "running"
    with pytest.raises(NoPicture):
        Gallery(store.database).get(None, "a.png")


def test_only_its_worker_ends_a_job(store: SqliteStore) -> None:
    [job] = submit(store)
    claimed(store)
    with pytest.raises(Conflict):
        store.finish(job, worker="other", finished=finished())
    with pytest.raises(Conflict):
        store.fail(job, worker="other", error="fault", message="no")
    failed = store.fail(job, worker="w", error="no_space", message="the disk is full")
    assert (failed.state, failed.error, failed.message) == ("failed", "no_space", "the disk is full")
    again = store.retry(job)
    assert again.request == failed.request and again.state == "queued"
    with pytest.raises(Conflict, match="can only be tried again once it failed or was cancelled"):
        store.retry(again.id)


def test_what_kills_workers_is_fenced_and_the_others_finish(store: SqliteStore) -> None:
    """All that a worker held when it died is run alone: so the culprit is found, and nobody else is taken for it."""
    jobs = submit(store, 4)
    poison = jobs[2]
    ended = []
    for life in range(20):
        worker = f"w{life}"
        running = claimed(store, 4, worker)
        if not running:
            break
        if poison in running:
            assert life == 0 or running == [poison]
            assert {job.id for job in store.lose(worker)} == set(running)
            continue
        for job in running:
            ended.append(store.finish(job, worker=worker, finished=finished()).id)
    assert sorted(ended) == sorted(set(jobs) - {poison})
    fenced = store.get(poison)
    assert (fenced.state, fenced.error, fenced.losses) == ("failed", POISON, MOST_LOSSES)
    assert "3 workers died over it" in fenced.message


def test_nobody_joins_a_job_that_a_worker_died_over(store: SqliteStore) -> None:
    [suspect] = submit(store)
    claimed(store, 4, "w1")
    store.lose("w1")
    others = submit(store, 2)
    assert claimed(store, 4, "w2") == [suspect] and claimed(store, 4, "w2") == []
    store.finish(suspect, worker="w2", finished=finished())
    assert claimed(store, 4, "w2") == others


def test_giving_back_costs_nothing(store: SqliteStore) -> None:
    jobs = submit(store, 3)
    claimed(store, 2)
    assert [job.losses for job in store.release("w")] == [0, 0]
    assert claimed(store, 3) == jobs


def test_a_full_disk_leaves_the_store_as_it_was(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    [job] = submit(store)
    monkeypatch.setenv(VARIABLE, "store.commit:1-2:ENOSPC")
    from darkroom.contracts import faults

    faults._seen.clear()
    for _ in range(2):
        with pytest.raises(NoSpace, match="takes nothing more because the disk is full; free some space"):
            submit(store)
    assert [one.id for one in store.listed()] == [job]
    assert len(submit(store)) == 1


@pytest.mark.parametrize("step", range(1, len(MIGRATIONS[0]) + 1))
def test_a_kill_while_it_grows_leaves_the_old_or_the_new(step: int, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    code = f"import pathlib, darkroom.server.keeping.database as of; of.Database(pathlib.Path({str(path)!r}))"
    environment = {VARIABLE: f"store.migration:{step}:SIGKILL", "PYTHONPATH": ":".join(sys.path)}
    died = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert died.returncode == -9
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'jobs'").fetchone()[0] == 0
    assert len(submit(SqliteStore(path))) == 1


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    Database(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(BadFile, match="is of version 2, and this darkroom knows 1; update darkroom"):
        SqliteStore(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(BadFile, match=r"jobs.sqlite3 is damaged .*; move it away"):
        SqliteStore(path)


def test_the_pace_is_that_of_busy_times(store: SqliteStore) -> None:
    """Three that were drawn together in 6 seconds, and one an hour later in 2."""
    assert store.line.pace() is None
    for job, (started, ended) in zip(submit(store, 4), ((0, 4), (1, 5), (2, 6), (3606, 3608)), strict=True):
        with store.database.writing() as db:
            db.execute("UPDATE jobs SET state = 'done', started = ?, ended = ? WHERE id = ?", (started, ended, job))
    assert store.line.pace() == 2.0


def test_old_steps_are_forgotten(store: SqliteStore) -> None:
    jobs = submit(store, 3, key="k")
    for job in jobs:
        claimed(store)
        store.record([Event(job=job, kind="preview", stage="synthesise", step=1, preview=b"x")])
        store.finish(job, worker="w", finished=finished(f"{job}.png"))
    store.tidy(ended=2)
    assert [kinds(store, job) for job in jobs] == [
        ["queued", "running", "done"],
        *[["queued", "running", "preview", "done"]] * 2,
    ]
    assert submit(store, 3, key="k") == jobs
    store.tidy(keys_days=0)
    assert submit(store, 3, key="k") != jobs


def test_the_gallery(store: SqliteStore) -> None:
    gallery = Gallery(store.database)
    for i, prompt in enumerate(("a red fox", "a castle, 100% stone", "a red castle")):
        [job] = submit(store)
        claimed(store)
        store.finish(job, worker="w", finished=finished(f"{i}.png", prompt))

    def names(**how: object) -> list[str]:
        return [kept.name for kept in gallery.listed("local", **how)]  # type: ignore[arg-type]

    assert names() == ["2.png", "1.png", "0.png"] and names(words="red castle") == ["2.png"]
    assert names(words="100%") == ["1.png"] and names(words="1_0") == [] and names(before="1.png") == ["0.png"]
    gallery.change("local", ["0.png", "2.png"], favourite=True, board="zoo")
    assert names(favourites=True) == ["2.png", "0.png"] and gallery.boards("local") == {"zoo": 2}
    gallery.change("local", ["2.png"], trashed=True)
    assert names() == ["1.png", "0.png"] and names(trashed=True) == ["2.png"]
    with pytest.raises(NoPicture):
        gallery.change("local", ["0.png", "9.png"], favourite=False)
    assert gallery.get("local", "0.png").favourite  # all or none
    with pytest.raises(NoPicture):
        gallery.get("anna", "0.png")
    assert gallery.thumbnail("local", "0.png") == b"small" and gallery.listed("anna") == []
    assert gallery.emptied("local") == ["2.png"] and names(trashed=True) == []


def test_two_owners_of_one_file(store: SqliteStore) -> None:
    gallery = Gallery(store.database)
    for owner in ("anna", "ben"):
        [job] = submit(store, owner=owner)
        claimed(store)
        store.finish(job, worker="w", finished=finished())
        gallery.change(owner, ["a.png"], trashed=True)
    assert gallery.emptied("anna") == []  # ben has it still
    assert gallery.emptied("ben") == ["a.png"]


def test_what_a_job_says_survives_its_file(store: SqliteStore) -> None:
    [job] = submit(store)
    other = SqliteStore(store.database.path)
    assert other.get(job) == store.get(job) and isinstance(other.get(job), Job)
