"""What one picture asks of a network at once, in passes of two rows.

A network that is not ours gives other last bits to a row in another batch, so its passes must not depend on who else is
there. What a picture asks for together it always asks for together (its prompt and what is unwanted), so these share a
pass, and no others do: alone and in company it is the same pass. Two rows cost less than twice one, because weights are
read once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darkroom.protocols import Call, T, Task

ROWS = 2  # of a pass; more of them are of larger pictures, whose memory they would multiply


def paired(task: Task[T], network: str) -> Task[T]:
    """A picture's task whose calls of ``network`` are put together, two and two where they are alike.

    A call that goes out has a batch axis, as has its answer; the task inside sees rows. Errors are thrown into it.
    """
    try:
        calls = next(task)
        while True:
            passes = _passes(calls, network)
            try:
                answers = yield [_stacked([calls[n] for n in some], network) for some in passes]
            except Exception as error:
                calls = task.throw(error)
                continue
            found: dict[int, Tensor] = {}
            for some, answer in zip(passes, answers, strict=True):
                rows = answer.unbind() if calls[some[0]].network == network else [answer]
                found.update(zip(some, rows, strict=True))
            calls = task.send([found[n] for n in range(len(calls))])
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        task.close()


def _passes(calls: Sequence[Call], network: str) -> list[list[int]]:
    """The numbers of calls that share a pass, in order."""
    found: list[list[int]] = []
    for n, call in enumerate(calls):
        mates = found[-1] if found else []
        if mates and len(mates) < ROWS and call.network == network and _alike(call, calls[mates[0]]):
            mates.append(n)
        else:
            found.append([n])
    return found


def _alike(one: Call, other: Call) -> bool:
    """Whether two calls differ in the numbers of their tensors alone."""
    floats = ({name: v for name, v in call.inputs.items() if not isinstance(v, Tensor)} for call in (one, other))
    return one.batch_key == other.batch_key and next(floats) == next(floats)


def _stacked(calls: Sequence[Call], network: str) -> Call:
    first = calls[0]
    if first.network != network:
        return first
    rows = {name: [call.inputs[name] for call in calls] for name in first.inputs}
    inputs = {name: torch.stack(of) if isinstance(of[0], Tensor) else of[0] for name, of in rows.items()}  # type: ignore[arg-type]
    return Call(first.network, inputs, first.adapters)
