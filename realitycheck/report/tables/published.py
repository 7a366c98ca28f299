"""The study's published values, as data, and how a row of ours finds its counterpart."""

from importlib import resources

import pandas as pd
import yaml

_COLUMNS = ["metric", "dataset", "kind", "prompt", "model", "value", "words", "source"]


def load_published() -> tuple[pd.DataFrame, dict[str, dict]]:
    """Read the published values that come with the package.

    Returns:
        The values, one a row (metric, dataset, kind, prompt, model, value, words, source; a
        missing prompt or model matches any), and the study's data sets by key (name, n_ok,
        n_nok).
    """
    text = resources.files(__package__).joinpath("published.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    table = pd.DataFrame(content["values"], columns=_COLUMNS).astype(
        {name: object for name in _COLUMNS if name != "value"}
    )
    table["value"] = table["value"].astype(float)
    unknown = sorted(set(table["dataset"]) - set(content["datasets"]))
    if unknown:
        raise ValueError(
            f"published.yaml: each value must name one of the data sets "
            f"{', '.join(content['datasets'])}, but {unknown[0]!r} is none of them"
        )
    return table, content["datasets"]


def find_published(
    published: pd.DataFrame,
    published_as: str | None,
    *,
    metric: str,
    kind: str,
    prompt: str | None = None,
    model: str | None = None,
) -> dict | None:
    """Find the published counterpart of one row of ours.

    Args:
        published: Values as `load_published` gives them.
        published_as: Key of the study's data set, or None if the study did not use this one.
        metric: "mean_iou" or "f2".
        kind: Kind of the method.
        prompt: Name of the prompt; where the study names one, it must be the same.
        model: Name of the model behind the method. Compared only where both sides name one;
            a version suffix is allowed ("gemini-2.5-pro-001" is "gemini-2.5-pro").

    Returns:
        The value (NaN if judged in words only), words and source, or None without counterpart.

    Raises:
        ValueError: If two published values fit.
    """
    if published_as is None:
        return None
    found = [
        row
        for row in published.to_dict("records")
        if (row["metric"], row["dataset"], row["kind"]) == (metric, published_as, kind)
        and (pd.isna(row["prompt"]) or row["prompt"] == prompt)
        and (model is None or _is_same_model(row["model"], model))
    ]
    if len(found) > 1:
        raise ValueError(
            f"published.yaml: {len(found)} values fit {metric} of {kind} on {published_as} with "
            f"prompt {prompt!r}, but there must be at most one"
        )
    if not found:
        return None
    row = found[0]
    return {
        "value": float(row["value"]),
        "words": None if pd.isna(row["words"]) else row["words"],
        "source": row["source"],
    }


def _is_same_model(theirs: object, ours: str) -> bool:
    if pd.isna(theirs):
        return True
    name = ours.rsplit("/", 1)[-1]
    return name == theirs or name.removeprefix(f"{theirs}-").isdigit()
