"""What all trainings share: arguments, schedule, checkpoints, the loss curve."""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realitycheck.models.checkpoints.read import load_state

#: A step: what was prepared for it, a source of chance on the device → the losses by name.
Step = Callable[[Any, torch.Generator], dict[str, torch.Tensor]]
#: Draws what a step is about, on a CPU, from a source of chance.
Prepare = Callable[[np.random.Generator], Any]

_PREPARE: list[Prepare] = []


def _prepare(seed: int, step: int) -> Any:  # noqa: ANN401
    torch.set_num_threads(1)
    return _PREPARE[0](np.random.default_rng([seed, step]))


class Ahead:
    """Prepares steps in processes of their own, some steps ahead, in order.

    Args:
        prepare: Called once a step.
        seed: Chance of a step depends on it and the step's number alone.
        workers: Processes; 0 prepares each step when it is asked for. They are started here, as
            copies of this process, so make it before anything lies on a GPU.
    """

    def __init__(self, prepare: Prepare, *, seed: int, workers: int) -> None:
        """Start the processes."""
        _PREPARE[:] = [prepare]
        self.seed = seed
        self.depth = 3 * workers
        self.pool: ProcessPoolExecutor | None = None
        if workers:
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
            for waited in [self.pool.submit(os.getpid) for _ in range(4 * workers)]:
                waited.result()

    def steps(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Yield the numbers of steps with what was prepared for them."""
        if self.pool is None:
            for step in range(first, last):
                yield step, _prepare(self.seed, step)
            return
        waiting: deque[tuple[int, Future]] = deque()
        coming = first
        for step in range(first, last):
            while coming < last and len(waiting) < self.depth:
                waiting.append((coming, self.pool.submit(_prepare, self.seed, coming)))
                coming += 1
            number, future = waiting.popleft()
            assert number == step
            yield step, future.result()

    def close(self) -> None:
        """Stop the processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def parse(description: str, *, steps: int, batch: int, lr: float) -> argparse.Namespace:
    """Read the arguments that all trainings take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scenes", required=True, help="folder of training.scenes")
    parser.add_argument("--out", required=True, help="folder of checkpoint and loss curve")
    parser.add_argument("--n-scenes", type=int, default=None, help="use this many at most")
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole schedule")
    parser.add_argument("--stop-after-s", type=float, default=math.inf, help="stop, to go on later")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare steps")
    parser.add_argument("--start-from", default=None, help="exported weights to begin with")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return given


def start(
    networks: Mapping[str, torch.nn.Module],
    average: Mapping[str, torch.Tensor],
    exported: Mapping[str, torch.Tensor],
) -> None:
    """Give networks, and their average, the weights of an exported file.

    Raises:
        KeyError: If a weight is not in the file.
    """
    with torch.no_grad():
        for part, net in networks.items():
            for name, value in net.state_dict().items():
                full = f"{part}.{name}"
                found = exported[full] if full in exported else exported[name]
                value.copy_(found)
                average[full].copy_(found)


def rate_at(step: int, *, steps: int, warmup: int = 300) -> float:
    """Share of the largest learning rate: a linear rise, then half a cosine to 1 %."""
    rise = min(1.0, (step + 1) / warmup)
    progress = min(1.0, step / max(1, steps))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def run(
    given: argparse.Namespace,
    networks: Mapping[str, torch.nn.Module],
    step_fn: Step,
    ahead: Ahead,
    *,
    groups: Sequence[dict] | None = None,
    clip_norm: float = 1.0,
    weight_decay: float = 0.02,
    save_every_s: float = 60.0,
) -> None:
    """Train, from the checkpoint if there is one, and write it again and again.

    Chance depends on the seed and the number of the step alone, so a training that was stopped and
    goes on takes the same steps. The weights that are kept for use are a moving average.

    Args:
        given: From `parse`.
        networks: Modules by name.
        step_fn: Computes the losses of a step; their sum is made smaller.
        ahead: Prepares the steps.
        groups: Groups of parameters with a factor `scale` on the learning rate; None is one group.
        clip_norm: Gradients are scaled down to this length.
        weight_decay: Of AdamW.
        save_every_s: Seconds between checkpoints.
    """
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    parameters = [p for net in networks.values() for p in net.parameters() if p.requires_grad]
    groups = list(groups or [{"params": parameters, "scale": 1.0}])
    optimiser = torch.optim.AdamW(groups, lr=given.lr, weight_decay=weight_decay, betas=(0.9, 0.98))
    average = {
        f"{part}.{name}": value.detach().clone()
        for part, net in networks.items()
        for name, value in net.state_dict().items()
    }
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, map_location=given.device, weights_only=True)
        for part, net in networks.items():
            net.load_state_dict(kept["networks"][part])
        optimiser.load_state_dict(kept["optimiser"])
        average, first = kept["average"], kept["step"]
    elif given.start_from:
        start(networks, average, load_state(Path(given.start_from)))
    values = [value for net in networks.values() for value in net.state_dict().values()]
    pairs = list(zip(average.values(), values, strict=True))
    averaged = [pair for pair in pairs if pair[1].is_floating_point()]
    counted = [pair for pair in pairs if not pair[1].is_floating_point()]
    curve = out / "curve.csv"
    started = last_saved = time.monotonic()
    sums: dict[str, float] = {}
    n_summed = 0

    def save(step: int) -> None:
        passing = checkpoint.with_suffix(".part")
        state = {part: net.state_dict() for part, net in networks.items()}
        torch.save(
            {
                "networks": state,
                "optimiser": optimiser.state_dict(),
                "average": average,
                "step": step,
            },
            passing,
        )
        os.replace(passing, checkpoint)

    for step, prepared in ahead.steps(first, given.steps):
        for group in optimiser.param_groups:
            group["lr"] = given.lr * group["scale"] * rate_at(step, steps=given.steps)
        generator = torch.Generator(given.device).manual_seed(given.seed * 1_000_003 + step)
        losses = step_fn(prepared, generator)
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimiser.step()
        decay = min(0.999, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                [kept for kept, _ in averaged], [value for _, value in averaged], 1 - decay
            )
            for kept, value in counted:
                kept.copy_(value)
        if step % 10 == 0:
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            n_summed += 1
        if (step + 1) % 100 == 0 or step + 1 == given.steps:
            seconds = time.monotonic() - started
            row = {"step": step + 1, "seconds": round(seconds, 1)}
            row |= {name: round(value / max(1, n_summed), 5) for name, value in sums.items()}
            is_new = not curve.exists()
            with curve.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                if is_new:
                    writer.writeheader()
                writer.writerow(row)
            print(json.dumps(row), flush=True)
            sums, n_summed = {}, 0
        now = time.monotonic()
        stops = now - started > given.stop_after_s
        if now - last_saved > save_every_s or step + 1 == given.steps or stops:
            save(step + 1)
            last_saved = now
        if stops:
            print(f"stopped after step {step + 1} of {given.steps}", flush=True)
            break
    ahead.close()
