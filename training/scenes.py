"""Drawn scenes, made once and kept in a folder: the training sets of all four networks.

    python -m training.scenes --folder FOLDER --n-scenes 8000 --seed 1 --workers 2

A killed run goes on where it stopped; the same arguments give the same scenes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from realitycheck.datasets.synthetic.everyday import Instance, Scene, draw_scene

#: Scenes of a file.
CHUNK = 250
#: Seeds below this are for training, those from it on for measuring.
FIRST_HELD_OUT_SEED = 1000


def scene_of(seed: int, index: int, *, size_px: int = 256) -> Scene:
    """Draw one scene of a set; it depends on the seed and its index alone."""
    return draw_scene(np.random.default_rng([seed, index]), size_px=size_px)


def _render_chunk(task: tuple[str, int, int, int]) -> None:
    """Draw the scenes of a file; it appears complete or not at all."""
    folder, seed, chunk, size_px = task
    scenes = [scene_of(seed, chunk * CHUNK + index, size_px=size_px) for index in range(CHUNK)]
    target = Path(folder) / f"scenes-{chunk:04d}.npz"
    passing = target.with_suffix(".part.npz")
    np.savez(
        passing,
        images=np.stack([scene.image for scene in scenes]),
        identities=np.stack([scene.identities for scene in scenes]),
        parts=np.stack([scene.parts for scene in scenes]),
        instances=np.array(
            [json.dumps([asdict(instance) for instance in scene.instances]) for scene in scenes]
        ),
    )
    os.replace(passing, target)


def render(
    folder: str | Path, *, n_scenes: int, seed: int, workers: int, size_px: int = 256
) -> None:
    """Draw a set and keep it.

    Args:
        folder: Where to; files that are there are kept.
        n_scenes: How many; rounded up to whole files.
        seed: Seed of the set.
        workers: Processes that draw.
        size_px: Side of a scene in pixels.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        (str(folder), seed, chunk, size_px)
        for chunk in range(-(-n_scenes // CHUNK))
        if not (folder / f"scenes-{chunk:04d}.npz").exists()
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(_render_chunk, tasks), start=1):
            print(f"{done * CHUNK} of {len(tasks) * CHUNK} scenes drawn", flush=True)


@dataclass
class SceneSet:
    """A set in memory.

    Attributes:
        images: uint8, (N, 3, S, S).
        identities: uint8, (N, S, S), see `everyday.Scene`.
        parts: uint8, (N, S, S).
        instances: What can be seen in each.
    """

    images: torch.Tensor
    identities: torch.Tensor
    parts: torch.Tensor
    instances: list[list[Instance]]

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.instances)


def load(folder: str | Path, *, device: torch.device, n_scenes: int | None = None) -> SceneSet:
    """Read a set.

    Args:
        folder: Of `render`.
        device: Where images and maps go.
        n_scenes: How many at most.

    Raises:
        FileNotFoundError: If the folder holds no scenes.
    """
    paths = sorted(Path(folder).glob("scenes-????.npz"))
    if n_scenes is not None:
        paths = paths[: -(-n_scenes // CHUNK)]
    if not paths:
        raise FileNotFoundError(
            f"{folder}: expected scenes, found none; run python -m training.scenes first"
        )
    images, identities, parts, instances = [], [], [], []
    for path in paths:
        with np.load(path) as kept:
            images.append(torch.from_numpy(kept["images"]).permute(0, 3, 1, 2).to(device))
            identities.append(torch.from_numpy(kept["identities"]).to(device))
            parts.append(torch.from_numpy(kept["parts"]).to(device))
            instances += [_read_instances(text) for text in kept["instances"]]
    return SceneSet(torch.cat(images), torch.cat(identities), torch.cat(parts), instances)


def _read_instances(text: str) -> list[Instance]:
    return [
        Instance(**{**item, "box": tuple(item["box"]), "parts": tuple(item["parts"])})
        for item in json.loads(str(text))
    ]


def vary(
    images: torch.Tensor, *, generator: torch.Generator, swap_colours: float = 0.15
) -> torch.Tensor:
    """Vary exposure, contrast and the order of colours of pictures.

    Args:
        images: float, (N, 3, H, W), 0 to 255.
        generator: Source of chance, on the images' device.
        swap_colours: Share of pictures whose channels are permuted: methods that swap them by
            mistake must not fail for that reason alone.

    Returns:
        As given, clipped.
    """
    n, device = len(images), images.device

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, device=device)

    gain = 0.75 + 0.5 * draw(n, 1, 1, 1)
    tint = 0.94 + 0.12 * draw(n, 3, 1, 1)
    shift = 50 * (draw(n, 1, 1, 1) - 0.5)
    varied = ((images - 128) * gain + 128 + shift) * tint
    order = torch.argsort(draw(n, 3), dim=1)
    kept = torch.arange(3, device=device).expand(n, 3)
    order = torch.where(draw(n, 1) < swap_colours, order, kept)
    varied = varied.gather(1, order[:, :, None, None].expand_as(varied))
    return varied.clamp(0, 255)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw a set from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--n-scenes", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    render(given.folder, n_scenes=given.n_scenes, seed=given.seed, workers=given.workers)


if __name__ == "__main__":
    main()
