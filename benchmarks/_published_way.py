"""The four methods as one would write them on the packages, each alone and nothing shared.

Each method encodes every image itself, through `segment_anything`'s own predictor or mask
generator; GroundingDINO runs whole for each caption; every crop goes through open_clip alone, and
texts are encoded for each image. Rules that cost nothing (which box stays, which crop wins, points
from a map) are the project's own functions: they are held to the published code elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _full_size import CATEGORY, Clock
from _our_way import METHODS, Run

from realitycheck.core.files import image_file
from realitycheck.core.images import read_image
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.models import saliency
from realitycheck.models.clip import model as our_clip
from realitycheck.models.clip import surgery as clip_surgery
from realitycheck.models.grounding_dino import model as grounding_dino
from realitycheck.models.sam.inference import PIXEL_MEAN, PIXEL_STD
from realitycheck.models.sam.model import PARTS


class PublishedWay:
    """The methods, one step each.

    Args:
        run: What is asked for.
    """

    def __init__(self, run: Run):
        self.run = run
        self.masks: dict[str, dict[str, np.ndarray]] = {}

    def steps(self) -> dict[str, tuple[tuple[str, ...], Callable[[], Clock]]]:
        """List the steps by name, as `OurWay.steps`."""
        return {method: ((method,), partial(self._run, method)) for method in METHODS}

    def _run(self, method: str) -> Clock:
        import torch

        segment_one = getattr(self, f"_{method}")()
        rows = list(self.run.transforms.itertuples())
        with torch.inference_mode(), Clock() as clock:
            self.masks[method] = {
                row.image_id: segment_one(
                    read_image(image_file(self.run.images_folder, row.image_id))
                )
                for row in rows
            }
        return clock

    def _sam(self) -> Any:
        """SAM as the package's own whole model."""
        from segment_anything.modeling import Sam

        parts = self.run.networks.sam(*PARTS)
        return (
            Sam(
                parts.image_encoder,
                parts.prompt_encoder,
                parts.mask_decoder,
                pixel_mean=PIXEL_MEAN,
                pixel_std=PIXEL_STD,
            )
            .eval()
            .to(self.run.networks.device)
        )

    def _grounded_sam(self) -> Callable[[np.ndarray], np.ndarray]:
        from segment_anything import SamPredictor

        predictor = SamPredictor(self._sam())
        detector = self.run.networks.grounding_dino()
        threshold = self.run.settings("grounded_sam")["box_threshold"]

        def segment_one(image: np.ndarray) -> np.ndarray:
            boxes = [
                grounding_dino.select_boxes(
                    detect_alone(detector, image, phrase), box_threshold=threshold
                ).boxes
                for phrase in self.run.phrases
            ]
            predictor.set_image(image)
            return masks_of_boxes(predictor, np.concatenate(boxes), image).any(axis=0)

        return segment_one

    def _sam_clip(self) -> Callable[[np.ndarray], np.ndarray]:
        import open_clip
        import torch
        from segment_anything import SamAutomaticMaskGenerator

        generator = SamAutomaticMaskGenerator(self._sam(), **self.run.grid)
        model = self.run.networks.clip()
        tokenise = open_clip.tokenizer.SimpleTokenizer()
        settings = self.run.settings("sam_clip")
        switches = self.run.switches("sam_clip")
        device = self.run.networks.device

        def segment_one(image: np.ndarray) -> np.ndarray:
            records = generator.generate(image)
            result = np.zeros(image.shape[:2], bool)
            if not records:
                return result
            features = []
            for record in records:
                crop = our_clip.crop_mask(
                    image,
                    record["segmentation"],
                    box=record["bbox"],
                    swap_canvas=switches.swap_canvas,
                    inclusive_bbox=switches.inclusive_bbox,
                )
                pixels = our_clip.preprocess_clip(crop)[None].to(device)
                features.append(model.encode_image(pixels, normalize=True)[0])
            for phrase in self.run.phrases:
                text = model.encode_text(tokenise([phrase]).to(device), normalize=True)[0]
                scores = (settings["logit_scale"] * torch.stack(features) @ text).softmax(dim=0)
                for record, score in zip(records, scores.tolist(), strict=True):
                    if score > settings["threshold"]:
                        result |= record["segmentation"]
            return result

        return segment_one

    def _clip_surgery_sam(self) -> Callable[[np.ndarray], np.ndarray]:
        import open_clip
        from segment_anything import SamPredictor

        predictor = SamPredictor(self._sam())
        model = self.run.networks.clip()
        tokenise = open_clip.tokenizer.SimpleTokenizer()
        settings = self.run.settings("clip_surgery_sam")
        switches = self.run.switches("clip_surgery_sam")

        def ensemble(phrase: str) -> np.ndarray:
            sentences = [text.replace("{}", phrase) for text in our_clip.surgery_templates()]
            tokens = tokenise(sentences).to(self.run.networks.device)
            mean = model.encode_text(tokens, normalize=True).mean(dim=0)
            return (mean / mean.norm()).cpu().numpy()

        def segment_one(image: np.ndarray) -> np.ndarray:
            pixels = clip_surgery.surgery_input(
                image, double_norm=switches.double_norm, antialias=switches.antialias
            )
            tokens = clip_surgery.encode_tokens(model, pixels[None])[0]
            phrases = self.run.phrases[:1] if switches.first_prompt_only else self.run.phrases
            predictor.set_image(image)
            result = np.zeros(image.shape[:2], bool)
            for phrase in phrases:
                similarity = clip_surgery.similarity_map(
                    tokens,
                    ensemble(phrase)[None],
                    redundant_feature=ensemble(""),
                    norm_axis=switches.norm_axis,
                )
                points, labels = clip_surgery.points_from_map(
                    similarity[1:, 0],
                    height_px=image.shape[0],
                    width_px=image.shape[1],
                    threshold=settings["threshold"],
                    downsample=settings["downsample"],
                )
                if len(points):
                    masks, _, _ = predictor.predict(points, labels, multimask_output=False)
                    result |= masks[0]
            return result

        return segment_one

    def _saa_plus(self) -> Callable[[np.ndarray], np.ndarray]:
        from segment_anything import SamPredictor

        predictor = SamPredictor(self._sam())
        detector = self.run.networks.grounding_dino()
        network = self.run.networks.saliency()
        switches = self.run.switches("saa_plus")
        told = prompts_of_category(self.run.saa_plus, CATEGORY)
        asked = captions(told, object_comma=switches.object_comma)
        settings = self.run.settings("saa_plus")

        def segment_one(image: np.ndarray) -> np.ndarray:
            predictor.set_image(image[..., ::-1] if switches.bgr else image)
            return saa_plus.segment(
                detect_alone(detector, image, asked.object_caption),
                [detect_alone(detector, image, caption) for caption in asked.defect_captions],
                filter_phrases=asked.filter_phrases,
                decode_boxes=lambda boxes: masks_of_pixel_boxes(predictor, boxes),
                saliency=saliency.saliency_map(network, image, bgr=switches.bgr),
                image_size_hw=image.shape[:2],
                n_objects=told.n_objects,
                max_masks=told.max_masks,
                area_ratio=told.area_ratio,
                box_threshold=settings["box_threshold"],
                text_threshold=settings["text_threshold"],
            ).segmentation.mask

        return segment_one


def detect_alone(
    model: grounding_dino.GroundingDinoModel, image: np.ndarray, text: str
) -> grounding_dino.Detection:
    """Run the package's whole model for one caption."""
    size = model.dimensions
    caption = grounding_dino.normalise_caption(text)
    pixels = grounding_dino.preprocess(
        image, short_side_px=size.short_side_px, long_side_limit_px=size.long_side_limit_px
    )
    found = model.network(pixels[None].to(model.device), captions=[caption])
    ids = model.network.tokenizer(caption)["input_ids"]
    scores = found["pred_logits"][0, :, : len(ids)].sigmoid().cpu().numpy()
    return grounding_dino.Detection(
        caption=caption,
        tokens=tuple(model.network.tokenizer.convert_ids_to_tokens(ids)),
        boxes=found["pred_boxes"][0].cpu().numpy(),
        token_scores=scores,
        scores=scores.max(axis=1),
    )


def masks_of_boxes(predictor: Any, boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Masks of relative centre boxes by the package's predictor, bool, (N, H, W)."""
    pixels = grounding_dino.boxes_to_pixels(boxes, image_size_hw=image.shape[:2])
    if not len(pixels):
        return np.zeros((0, *image.shape[:2]), bool)
    return masks_of_pixel_boxes(predictor, pixels)


def masks_of_pixel_boxes(predictor: Any, boxes: np.ndarray) -> np.ndarray:
    """Masks of boxes in pixels by the package's predictor, all at once, bool, (N, H, W)."""
    import torch

    scaled = predictor.transform.apply_boxes_torch(
        torch.as_tensor(boxes, dtype=torch.float32, device=predictor.device),
        predictor.original_size,
    )
    masks, _, _ = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=scaled, multimask_output=False
    )
    return masks[:, 0].cpu().numpy()
