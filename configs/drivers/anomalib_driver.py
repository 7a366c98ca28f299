"""PaDiM, PatchCore or EfficientAD of anomalib, as a program for `kind: command`; gives maps.

Reads a request in the folder that it is started in, trains a model of each category on the good
training images alone, and leaves a score map of each image. Needs anomalib 2.7 in its environment,
nothing of RealityCheck. The maps are anomalib's, without its own normalisation, which looks at
labelled images: raw / (raw + s), s being the highest raw score of the category's training images.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib.data import Folder, PredictDataset
from anomalib.engine import Engine
from anomalib.models import EfficientAd, Padim, Patchcore
from lightning.pytorch import seed_everything
from torch.nn.functional import interpolate

BACKBONES = {"padim": "resnet18", "patchcore": "wide_resnet50_2"}


def arguments():
    """What the command says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=(*BACKBONES, "efficient_ad"), required=True)
    parser.add_argument("--backbone", help="of PaDiM and PatchCore, by timm's name")
    parser.add_argument(
        "--weights",
        default="hub",
        help="of the backbone: hub (timm's, from its cache or the network), random (drawn by the "
        "request's seed: a trial without weights), or a file of torch",
    )
    parser.add_argument("--imagenette", help="EfficientAD: folder of imagenette2")
    parser.add_argument("--epochs", type=int, default=70, help="EfficientAD: over all images")
    return parser.parse_args()


def model_of(told):
    """The untrained model."""
    plain = {"post_processor": False, "evaluator": False, "visualizer": False}
    if told.model == "efficient_ad":
        return EfficientAd(imagenet_dir=told.imagenette, **plain)
    model = {"padim": Padim, "patchcore": Patchcore}[told.model](
        backbone=told.backbone or BACKBONES[told.model],
        pre_trained=told.weights == "hub",
        **plain,
    )
    if told.weights not in ("hub", "random"):
        known = torch.load(told.weights, map_location="cpu", weights_only=True)
        missing, _ = model.model.feature_extractor.feature_extractor.load_state_dict(
            known, strict=False
        )
        if missing:
            raise SystemExit(f"{told.weights}: lacks {len(missing)} tensors, such as {missing[0]}")
    return model


def raw_maps(engine, model, files):
    """Path and raw map, float32 (h, w), of each image, one image after the other."""
    for path in files:
        (batch,) = engine.predict(model=model, dataset=PredictDataset(path))
        yield path, batch.anomaly_map.reshape(batch.anomaly_map.shape[-2:]).float().clamp(min=0)


def judge(told, request, training, images):
    """Train on the training images of a category, and write the maps of its images."""
    seed_everything(request["seed"])
    model = model_of(told)
    engine = Engine(
        accelerator="gpu" if request["device"] == "cuda" else request["device"],
        devices=1,
        logger=False,
        enable_progress_bar=False,
        default_root_dir="training_runs",
        **({"max_epochs": told.epochs} if told.model == "efficient_ad" else {}),
    )
    good = Path("good") / str(images["category"].iloc[0])
    good.mkdir(parents=True)
    for file in training["file"]:
        (good / Path(file).name).hardlink_to(file)
    data = Folder(
        name="good",
        normal_dir=good,
        train_batch_size=1 if told.model == "efficient_ad" else 8,
        eval_batch_size=1,
        num_workers=0,
        test_split_mode="none",
        val_split_mode="none",
        seed=request["seed"],
    )
    data.setup()
    # Anomalib asks for images to validate with; the scored ones would tell what must not be known.
    data.val_data = data.train_data
    engine.fit(model=model, datamodule=data)
    scale = max(float(raw.max()) for _, raw in raw_maps(engine, model, training["file"]))
    rows = images.set_index("file")
    started = time.perf_counter()
    for file, raw in raw_maps(engine, model, images["file"]):
        row = rows.loc[file]
        size = (int(row["height_px"]), int(row["width_px"]))
        full = interpolate(raw[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        values = (full / (full + max(scale, 1e-12))).cpu().numpy().astype(np.float32)
        np.save(f"maps/{row['index']:06d}.npy", values)
        seconds, started = time.perf_counter() - started, time.perf_counter()
        yield {"index": row["index"], "seconds": seconds}


def main():
    """Judge category after category."""
    told = arguments()
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    if request["format"] != 1:
        raise SystemExit(f"request.json: expected format 1, found {request['format']}")
    torch.set_num_threads(request["threads"])
    images, training = pd.read_parquet("images.parquet"), pd.read_parquet("training.parquet")
    rows = []
    for category, own in images.groupby("category"):
        good = training[training["category"] == category]
        rows += judge(told, request, good, own)
    pd.DataFrame(rows).to_csv("predictions.csv", index=False)


if __name__ == "__main__":
    main()
