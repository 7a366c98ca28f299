"""How GroundingDINO reads a caption; free of NumPy and torch, as captions are checked first."""

#: Tokens of a caption beyond this are cut off by the model.
MAX_TOKENS = 256


def normalise_caption(text: str) -> str:
    """Bring a prompt into the form the detector was trained on: lower case, ended by a full stop.

    >>> normalise_caption("  Wick Hole ")
    'wick hole.'
    """
    caption = text.lower().strip()
    return caption if caption.endswith(".") else f"{caption}."
