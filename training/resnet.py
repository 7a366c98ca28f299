"""Train the `everyday` residual network: what a crop shows, its finish and its colour.

    python -m training.resnet --scenes FOLDER --out FOLDER

The classifier's outputs are, in this order, the nouns, the finishes and the colours. Crops are
brought to the network as its two users do: by ImageNet's constants, and each by its own mean and
deviation.
"""

from __future__ import annotations

import numpy as np
import timm
import torch
from torch.nn import functional

from realitycheck.datasets.synthetic.everyday import COAT_FINISHES, COLOURS, FINISHES
from realitycheck.datasets.synthetic.everyday_parts import NOUNS
from realitycheck.models.saliency import (
    ARCHITECTURE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    saliency_sizes,
)
from training import loop, scenes
from training.crops import around, cut

CLASSES = {
    "noun": tuple(NOUNS),
    "finish": tuple(dict.fromkeys([*FINISHES, *COAT_FINISHES])),
    "colour": tuple(COLOURS),
}
CROP_PX = 128


def build() -> torch.nn.Module:
    """Build the network with random weights."""
    return timm.create_model(
        ARCHITECTURE,
        pretrained=False,
        num_classes=sum(len(names) for names in CLASSES.values()),
        **saliency_sizes("everyday"),
    )


def main() -> None:
    """Train from the command line."""
    given = loop.parse(__doc__, steps=10_000, batch=96, lr=2e-3)
    device = torch.device(given.device)
    data = scenes.load(given.scenes, device=device, n_scenes=given.n_scenes)
    usable = np.array([i for i in range(len(data)) if data.instances[i]])
    torch.manual_seed(given.seed)
    model = build().to(device).train()
    mean = 255 * torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
    std = 255 * torch.tensor(IMAGENET_STD, device=device)[:, None, None]

    def step_fn(rng: np.random.Generator, generator: torch.Generator) -> dict[str, torch.Tensor]:
        chosen = usable[rng.integers(len(usable), size=given.batch)]
        boxes, truth = [], []
        for index in chosen:
            instances = data.instances[index]
            thing = instances[rng.integers(len(instances))]
            boxes.append(around(rng, thing.box, most=float(rng.choice([0.2, 0.8]))))
            truth.append([names.index(getattr(thing, kind)) for kind, names in CLASSES.items()])
        index = torch.from_numpy(chosen).to(device)
        images = scenes.vary(data.images[index].float(), generator=generator, swap_colours=0.0)
        frame = torch.tensor(boxes, device=device, dtype=torch.float32)
        crops = cut(images, frame, size_px=CROP_PX)
        if rng.random() < 0.5:
            crops = crops.flip(-1)
        own_mean = crops.mean(dim=(1, 2, 3), keepdim=True)
        own_std = crops.std(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        by_own = torch.rand((len(crops), 1, 1, 1), generator=generator, device=device) < 0.5
        pixels = torch.where(by_own, (crops - own_mean) / own_std, (crops - mean) / std)
        outputs = model(pixels).split([len(names) for names in CLASSES.values()], dim=1)
        wanted = torch.tensor(truth, device=device)
        return {
            kind: functional.cross_entropy(output, wanted[:, column])
            for column, (kind, output) in enumerate(zip(CLASSES, outputs, strict=True))
        }

    ahead = loop.Ahead(lambda rng: rng, seed=given.seed, workers=0)
    loop.run(given, {"resnet": model}, step_fn, ahead, weight_decay=0.02)


if __name__ == "__main__":
    main()
