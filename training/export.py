"""Turn trained networks into the files that ship with the package.

    python -m training.export --trained FOLDER

FOLDER holds the output folders of the four trainings, by their names. Written are half-precision
safetensors in the official key layouts, small enough for a repository: rows of CLIP's vocabulary
that no training text uses are left out and come back as zeros, and a tensor that appears under
several names is stored once (`save_compact`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.checkpoints.read import COMPACT_KEY
from realitycheck.models.clip.model import surgery_templates
from training import words
from training.clip import PART
from training.grounding_dino import write_text_encoder

NAMES = ("sam", "grounding_dino", "clip", "resnet")


def used_tokens() -> list[int]:
    """List the tokens of CLIP's vocabulary that stand in a training text."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    texts = [*words.vocabulary(), *words.ADJECTIVES, PART, *surgery_templates(), "{}"]
    phrases = [text.replace("{}", word) for text in texts for word in ("", "cat")]
    tokens = {token for text in phrases for token in tokenizer.encode(text)}
    return sorted({*tokens, tokenizer.sot_token_id, tokenizer.eot_token_id, 0})


def save_compact(
    state: Mapping[str, torch.Tensor], path: str | Path, *, rows: Mapping[str, Sequence[int]]
) -> Path:
    """Write safetensors without what need not be stored; `load_state` gives all of it back.

    Args:
        state: Tensors by name.
        path: Where to; appears complete or not at all.
        rows: For some names the rows that are stored; all others must be zero.

    Returns:
        The file.

    Raises:
        ValueError: If a row that would be left out is not zero.
    """
    stored: dict[str, torch.Tensor] = {}
    same_as: dict[str, str] = {}
    by_content: dict[tuple, str] = {}
    for name, tensor in state.items():
        if name in rows:
            left_out = tensor.clone()
            left_out[list(rows[name])] = 0
            if left_out.any():
                raise ValueError(
                    f"{path}: {name} has values in rows that are to be left out; store them too"
                )
            stored[f"{name}.rows"] = torch.tensor(list(rows[name]), dtype=torch.int32)
            stored[f"{name}.values"] = tensor[list(rows[name])].contiguous()
            continue
        content = tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1)
        key = (tuple(tensor.shape), tensor.dtype, content.cpu().numpy().tobytes())
        if tensor.numel() > 64 and key in by_content:
            same_as[name] = by_content[key]
            continue
        by_content[key] = name
        stored[name] = tensor.contiguous().clone()
    plan = {"n_rows": {name: len(state[name]) for name in rows}, "same_as": same_as}
    path = Path(path)
    passing = path.with_name(path.name + ".part")
    save_file(stored, passing, metadata={COMPACT_KEY: json.dumps(plan)})
    return passing.replace(path)


def export(
    trained: str | Path, folder: str | Path, *, only: Sequence[str] = NAMES
) -> dict[str, str]:
    """Write the files of networks; those of the others stay as they are.

    Args:
        trained: Folder with one output folder a training.
        folder: Where to.
        only: Names of the networks.

    Returns:
        sha256 by file name.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "sha256.json"
    digests = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    for name in only:
        kept = torch.load(
            Path(trained) / name / "checkpoint.pt", map_location="cpu", weights_only=True
        )
        state = {
            key if name == "sam" else key.split(".", 1)[1]: (
                value.half() if value.is_floating_point() else value
            )
            for key, value in kept["average"].items()
        }
        rows = {}
        if name == "clip":
            used = used_tokens()
            table = state["token_embedding.weight"]
            table[[i for i in range(len(table)) if i not in set(used)]] = 0
            rows = {"token_embedding.weight": used}
        path = save_compact(state, folder / f"{name}.safetensors", rows=rows)
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        curve = Path(trained) / name / "curve.csv"
        shutil.copyfile(curve, folder / f"{name}_curve.csv")
    write_text_encoder(folder / "bert")
    for path in sorted((folder / "bert").iterdir()):
        digests[f"bert/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    listed.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    return digests


def main(arguments: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description="Write the files that ship with the package.")
    parser.add_argument("--trained", required=True)
    parser.add_argument("--folder", default=str(SHIPPED_FOLDER))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    given = parser.parse_args(arguments)
    for name, digest in export(given.trained, given.folder, only=given.only).items():
        print(name, digest)


if __name__ == "__main__":
    main()
