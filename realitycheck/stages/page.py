"""Stage 7: everything that a run found, on one page."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import write_text
from realitycheck.core.images import read_image
from realitycheck.core.masks import decode_mask, mask_like
from realitycheck.core.parquet import ArtifactError, removed
from realitycheck.core.pictures import check_listed, is_sound_png, read_aligned, read_warped
from realitycheck.core.provenance import package_version, read_record, versions
from realitycheck.core.schemas import MANIFEST, MASKS, PANELS, SCORES, TRANSFORMS, TRUTH, VERDICTS
from realitycheck.core.tables import read_facts, read_parts, read_table
from realitycheck.report.figures.registry import FIGURE_MODULES
from realitycheck.report.page.gallery import Gallery, Run
from realitycheck.report.page.outlines import screen_path
from realitycheck.report.page.page import FigureOnPage, render_page
from realitycheck.report.page.pictures import (
    MAX_PAGE_BYTES,
    PictureShelf,
    as_data,
    choose_side,
    encode_picture,
)
from realitycheck.report.page.words import NETWORK_NAMES, licences_of
from realitycheck.report.tables.base import dataset_name, method_name, weights_notes
from realitycheck.report.tables.registry import TABLE_MODULES
from realitycheck.stages.export import aligned_images

_PANEL_SIDE_PX = 1280
#: Bytes of the page's words, tables and program, roughly.
_WORDS_BYTES = 300_000
_PAGE_PACKAGES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "matplotlib",
    "snakemake",
)
#: A PNG of a figure with more bytes is a photograph at heart, and goes into the page as WebP.
_MAX_PNG_BYTES = 250_000


def write_page(
    path: str | Path,
    *,
    runs: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    tables: Sequence[str],
    figures: Mapping[str, tuple[str, str | None]],
    about: Mapping[str, Any],
    benchmarks_folder: str | Path,
    max_bytes: int = MAX_PAGE_BYTES,
    n_threads: int = 1,
) -> dict[str, Any]:
    """Write `report.html` beside the results that it shows.

    Args:
        path: The page, in the folder of all results; every other file is found from there.
        runs: Methods to show, as `Plan.page_runs` gives them.
        datasets: What is said of each data set.
        methods: What is said of each method.
        tables: Names of the tables, in their order.
        figures: Figure and data set by the name of its file, in their order; see
            `realitycheck.report.figures.registry.wanted_figures`.
        about: What the page says of the settings, as `Plan.page_facts` gives it.
        benchmarks_folder: Where the workflow noted how long its jobs took.
        max_bytes: A page with more keeps its pictures in the folder `report_images` beside it.
        n_threads: Pictures that are read and encoded at once.

    Returns:
        n_images, n_results, n_bytes of the page, and whether it holds its pictures.
    """
    path = Path(path)
    results = path.parent
    read = _read_tables(results / "tables", tables)
    runs = [
        {
            **run,
            "dataset_name": dataset_name(run["dataset"], datasets),
            "method_name": method_name(run["method"], methods),
        }
        for run in runs
    ]
    gallery = Gallery(datasets)
    for dataset in datasets:
        own = [run for run in runs if run["dataset"] == dataset]
        _add_dataset(gallery, dataset, own, results=results)
    shown = [
        _read_figure(results / "figures" / f"{stem}.png", *figure, datasets)
        for stem, figure in figures.items()
    ]
    panels = _panels(runs, results)
    loads = [
        partial(read_aligned, results / "aligned" / dataset, image_id)
        for dataset, image_id in gallery.images()
    ]
    panel_loads = [partial(_read_panel, results, row) for row in panels]
    # Thumbnails share what words, outlines, figures and panels leave of the page.
    taken = gallery.n_bytes + sum(len(figure.source) for figure in shown) + _WORDS_BYTES
    taken += _estimate(panel_loads)
    side, fits = choose_side(loads, max_bytes=max_bytes - taken)
    shelf = PictureShelf(results / "report_images", in_page=fits, n_threads=n_threads)
    gallery.pictures = list(shelf.put("image", loads, side_px=side))
    sources = shelf.put("panel", panel_loads, side_px=_PANEL_SIDE_PX)
    for row, source in zip(panels, sources, strict=True):
        gallery.add_panel(row["dataset"], row["method"], row["prompt"], row["image_id"], source)
    records = _run_facts(runs, results)
    facts = dict(about) | {
        "version": package_version(),
        "weights": " ".join(weights_notes(methods)),
        "max_mb": max_bytes // 1_000_000,
        "pictures_folder": None if fits else shelf.folder.name,
        "n_pictures": len(loads) + len(panels),
        "picture_side_px": side,
        "asked": [[datasets[row[0]]["name"], *row[1:]] for row in about["asked"]],
        "runs": records,
        "networks": [_network_row(n, v, results) for n, v in about["networks"].items()],
        "licences": licences_of(about["licences"], datasets),
        "versions": _versions(records),
        "runtimes": read_runtimes(benchmarks_folder, [*datasets, *about["networks"], "all"]),
    }
    page = render_page(read, gallery, names=tables, figures=shown, about=facts)
    write_text(page, path)
    return {
        "n_images": len(loads),
        "n_results": gallery.n_results,
        "n_bytes": path.stat().st_size,
        "is_one_file": fits,
    }


def _read_tables(folder: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read tables, and the further ones that some of them have, by name."""
    schemas = {
        stem: schema for name in names for stem, schema in TABLE_MODULES.open(name).SCHEMAS.items()
    }
    return {stem: read_table(folder / f"{stem}.parquet", schema=s) for stem, s in schemas.items()}


def _add_dataset(
    gallery: Gallery, dataset: str, runs: Sequence[Mapping[str, Any]], *, results: Path
) -> None:
    manifest = read_table(results / "manifests" / f"{dataset}.parquet", schema=MANIFEST)
    truth = read_table(results / "truth" / dataset / "truth.parquet", schema=TRUTH)
    transforms = results / "aligned" / dataset / "transforms.parquet"
    sized = aligned_images(manifest, read_table(transforms, schema=TRANSFORMS))
    about = sized.merge(truth, on=["dataset", "image_id"]).sort_values("image_id")
    sizes = {row.image_id: (row.height_px, row.width_px) for row in about.itertuples()}
    folder = results / "truth" / dataset
    paths = {
        row.image_id: _truth_path(folder, row.image_id)
        for row in about.itertuples()
        if row.has_truth and row.truth_px > row.lost_px
    }
    gallery.add_dataset(dataset, about, truth_paths=paths)
    outlines: dict[tuple[str, str], Mapping[str, str]] = {}
    for run in runs:
        place = f"{dataset}/{run['method']}/{run['prompt']}"
        scores = read_table(results / "scores" / place / "images.parquet", schema=SCORES)
        answers = None
        if run["masks_of"] is None:
            answers = read_table(results / "verdicts" / place / "labels.parquet", schema=VERDICTS)
        else:
            key = run["masks_of"], run["prompt"]
            if key not in outlines:
                source = results / "predictions" / dataset / "/".join(key) / "masks.parquet"
                outlines[key] = _mask_paths(source, sizes)
        gallery.add_run(
            Run(**{name: run[name] for name in ("dataset", "method", "prompt", "method_name")}),
            scores,
            mask_paths=outlines.get((run["masks_of"], run["prompt"])),
            mask_key=None if run["masks_of"] is None else (dataset, run["masks_of"], run["prompt"]),
            answers=answers,
        )


def _truth_path(folder: Path, image_id: str) -> str:
    return screen_path(read_warped(folder, image_id) == 255)


def _mask_paths(path: Path, sizes: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """Outlines of the masks of a run that are not empty, read a part at a time.

    A method may mark on a square of its own; its outlines are brought to the image's size.
    """
    columns = ["image_id", "mask_rle", "mask_height_px", "mask_width_px"]
    paths = {}
    for part in read_parts(path, schema=MASKS, part_rows=256, columns=columns):
        for row in part.to_dict("records"):
            mask = decode_mask(
                row["mask_rle"], height_px=row["mask_height_px"], width_px=row["mask_width_px"]
            )
            if mask.any():
                if mask.shape != sizes[row["image_id"]]:
                    mask = mask_like(np.empty((*sizes[row["image_id"]], 0), np.uint8), mask)
                paths[row["image_id"]] = screen_path(mask)
    return paths


def _panels(runs: Sequence[Mapping[str, Any]], results: Path) -> list[dict[str, Any]]:
    rows = []
    for run in runs:
        place = f"{run['dataset']}/{run['method']}/{run['prompt']}"
        table = results / "predictions" / place / "panels.parquet"
        if run.get("has_panels"):
            rows += read_table(table, schema=PANELS).to_dict("records")
    return rows


def _read_panel(results: Path, row: Mapping[str, Any]) -> np.ndarray:
    path = results / row["path"]
    place = f"{row['dataset']}/{row['method']}/{row['prompt']}"
    table = results / "predictions" / place / "panels.parquet"
    check_listed(path, row["image_id"], tables=[table])
    return read_image(path)


def _estimate(loads: Sequence[Any]) -> int:
    """Bytes that panels would take in the page, from a few of them."""
    if not loads:
        return 0
    places = np.unique(np.linspace(0, len(loads) - 1, 4).round().astype(int))
    sizes = [len(encode_picture(loads[place](), side_px=_PANEL_SIDE_PX)) for place in places]
    return int(np.mean(sizes) * len(loads) * 4 / 3)


def _read_figure(
    path: Path, figure: str, dataset: str | None, datasets: Mapping[str, Mapping[str, Any]]
) -> FigureOnPage:
    """Read a figure, with the words that stand in its module."""
    words = FIGURE_MODULES.open(figure)
    name = "" if dataset is None else f"{dataset_name(dataset, datasets)}: "
    if not is_sound_png(path):
        raise ArtifactError(f"{path}: damaged; {removed(path)}")
    data = path.read_bytes()
    image = read_image(path)
    is_large = len(data) > _MAX_PNG_BYTES
    source = as_data(encode_picture(image)) if is_large else as_data(data, "png")
    height, width = image.shape[:2]
    title = name + words.TITLE
    return FigureOnPage(
        source=source,
        title=title[0].upper() + title[1:],
        caption=words.CAPTION,
        alt=name + words.ALT,
        width_px=width,
        height_px=height,
    )


def _network_row(network: str, variant: str, results: Path) -> list[str]:
    """Name, size, files, digest and licence of a network, from the record of its check."""
    record = read_record(results / "weights" / f"{network}.json")
    files = ", ".join(Path(file["path"]).name for file in record["files"].values())
    own = [Path(record["files"][key]["path"]).name for key in record.get("own", [])]
    licence = ", ".join([*record["licences"], *(f"your own file {name}" for name in own)])
    licence = licence or "your own file"
    return [NETWORK_NAMES[network], variant, files, record["digest"], licence]


def _versions(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Versions of what the jobs ran with, and of what made the page."""
    found = versions(*_PAGE_PACKAGES)
    for record in records:
        noted = record["facts"].get("versions") or {}
        for one in noted if isinstance(noted, list) else [noted]:
            found |= one
    return {"Python": platform.python_version()} | dict(sorted(found.items()))


def _run_facts(runs: Sequence[Mapping[str, Any]], results: Path) -> list[dict[str, Any]]:
    """What each run's predictions say they were computed from."""
    rows = []
    for run in runs:
        if run["masks_of"] not in (None, run["method"]):
            continue  # verdicts by area of masks that have a row of their own
        place = f"{run['dataset']}/{run['method']}/{run['prompt']}"
        name = "verdicts/{}/labels" if run["masks_of"] is None else "predictions/{}/masks"
        facts = read_facts(results / f"{name.format(place)}.parquet")
        rows.append({**run, "facts": facts})
    return rows


def read_runtimes(folder: str | Path, places: Sequence[str]) -> list[dict[str, Any]]:
    """Add up what Snakemake noted of the jobs of each rule.

    Args:
        folder: Folder of the benchmark files: `{rule}/{data set or network or "all"}…tsv`.
        places: Names that may stand after the rule; others belong to other settings.

    Returns:
        One row per rule, the longest first: rule, n_jobs, seconds (of all jobs), max_rss_mb. A time
        that Snakemake did not take, for a job too short to be watched, counts as missing memory.
    """
    rows = []
    for rule in sorted(path for path in Path(folder).glob("*") if path.is_dir()):
        files = [
            file
            for file in sorted(rule.rglob("*.tsv"))
            if file.relative_to(rule).parts[0].removesuffix(".tsv") in places
        ]
        if not files:
            continue
        jobs = pd.concat([pd.read_csv(file, sep="\t") for file in files])
        memory = pd.to_numeric(jobs["max_rss"], errors="coerce").max()
        rows.append(
            {
                "rule": rule.name,
                "n_jobs": len(files),
                "seconds": float(jobs["s"].sum()),
                "max_rss_mb": None if pd.isna(memory) else float(memory),
            }
        )
    return sorted(rows, key=lambda row: -row["seconds"])
