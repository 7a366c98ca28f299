"""Run the benchmarks of the networks on one GPU, in a few minutes and without a download.

Seeded networks of full size (SAM ViT-H) are made first. Then come the ceiling of bfloat16 products
and the encoder's share of it, and the benchmarks of the encoder, the automatic masks, the detector
and the four methods, each against the packages' own code. A part that fails says so, and the others
go on; the exit code is then 1. With OUT set, `on_gpu.json` is written to that folder part by part.

Usage: python benchmarks/on_gpu.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from _full_size import SIZES, drawn_image, product_speed, write_networks

from realitycheck.models.sam import inference as sam

#: Multiply-accumulates of one pass of SAM's image encoder, in 10^9.
ENCODER_GMAC = {"vit_b": 486.0, "vit_h": 2981.0, "miniature": 0.1}
PART_LIMIT_S = 100


def ceiling(device: str) -> dict[str, Any]:
    """Measure products of square matrices in bfloat16, in 10^12 operations a second."""
    side = 8192 if device == "cuda" else 256  # bfloat16 is slow on most processors
    return {"bfloat16_tflops": 2 * product_speed(device, "bfloat16", side=side) / 1e3}


def encoder_share(
    folder: Path, *, size: str, others: str, device: str, reached: float
) -> dict[str, Any]:
    """Measure images per second of the encoder in bfloat16, batch by batch, and its share."""
    networks = write_networks(folder, size=size, others=others, device=device)
    model = replace(networks, precision="bfloat16").sam("image_encoder")
    image = drawn_image("part", image_size_px=model.dimensions.image_size_px, seed=0)
    found: dict[str, Any] = {}
    for batch in (1, 4, 8) if device == "cuda" else (1,):
        seconds = []
        for _ in range(4):
            started = time.perf_counter()
            sam.encode_images(model, [image] * batch, batch_size=batch)
            seconds.append(time.perf_counter() - started)
        rate = batch / min(seconds[1:])
        share = rate * 2 * ENCODER_GMAC[size] / 1e3 / reached
        found[f"batch_{batch}"] = {"images_per_s": rate, "share_of_ceiling": share}
        print(f"  batch {batch}: {rate:.2f} images/s, {share:.3f} of the ceiling", flush=True)
    return found


def command(name: str, *arguments: str) -> dict[str, Any]:
    """Run another benchmark, show what it prints, and return that.

    Raises:
        RuntimeError: If it fails.
    """
    line = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *arguments]
    started = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, timeout=PART_LIMIT_S, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return {"printed": done.stdout.splitlines(), "seconds": time.perf_counter() - started}


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="vit_h")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--networks", type=Path, help="folder that keeps the drawn weights")
    options = parser.parse_args()

    import torch

    device, size = options.device, options.size
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "no CUDA device here; run this on a machine with one (or, as a trial: --device cpu)"
        )
    others = "miniature" if size == "miniature" else "full"
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "size": size}
    print(f"{name}, torch {torch.__version__}, SAM {size}", flush=True)
    faults = 0

    def part(title: str, run: Callable[[], dict[str, Any]]) -> None:
        nonlocal faults
        started = time.perf_counter()
        print(f"== {title}", flush=True)
        try:
            results[title] = run()
        except Exception:
            faults += 1
            results[title] = {"failed": traceback.format_exc()}
            print(f"FAILED: {title}\n{traceback.format_exc()}", flush=True)
        print(f"   {json.dumps(results[title])[:300]}", flush=True)
        print(f"   part took {time.perf_counter() - started:.1f} s", flush=True)
        if out := os.environ.get("OUT"):
            (Path(out) / "on_gpu.json").write_text(json.dumps(results, indent=1))
        if device == "cuda":
            torch.cuda.empty_cache()  # the parts in processes of their own need the memory

    with tempfile.TemporaryDirectory() as scratch:
        folder = options.networks or Path(scratch)
        common = ["--size", size, "--device", device, "--threads", str(options.threads)]
        common += ["--networks", str(folder)]
        part("ceiling", lambda: ceiling(device))

        def make() -> dict[str, Any]:
            write_networks(folder, size=size, others=others, device=device)
            return {}

        part("networks", make)
        reached = results["ceiling"].get("bfloat16_tflops", float("nan"))
        part(
            "encoder_share",
            lambda: encoder_share(folder, size=size, others=others, device=device, reached=reached),
        )
        alone = [*common, "--repeats", "3"]
        part("encoder", lambda: command("encoder", *alone, "--others", others))
        grid = ["--points-per-side", str(options.points_per_side)]
        part(
            "automatic_masks",
            lambda: command("automatic_masks", *alone, *grid, "--others", others),
        )
        part("grounding_dino", lambda: command("grounding_dino", *alone))
        n_images = "4" if device == "cuda" else "1"
        part(
            "four_methods",
            lambda: command("compare_published", *common, *grid, "--n-images", n_images),
        )
        if device == "cuda":  # last, as it may take its time to compile
            compiled = [*alone, "--compiled", "--others", others]
            part("encoder_compiled", lambda: command("encoder", *compiled))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
