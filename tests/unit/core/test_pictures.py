"""Pictures between stages: a damaged one is named, and its table goes, so that both come again."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.images import write_png
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.pictures import is_sound_png, read_aligned, read_warped

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two aligned images in a shard each, and the truth of one."""
    (tmp_path / "shards").mkdir()
    for shard, image_id in enumerate(("p/OK/a", "p/OK/b")):
        write_png(IMAGE, tmp_path / f"{image_id}.png")
        pd.DataFrame({"image_id": [image_id]}).to_parquet(tmp_path / f"shards/{shard}-of-2.parquet")
    pd.DataFrame({"image_id": ["p/OK/a", "p/OK/b"]}).to_parquet(tmp_path / "truth.parquet")
    return tmp_path


def tables(folder):
    """Tables that are there."""
    return sorted(path.name for path in folder.rglob("*.parquet"))


def test_every_flipped_bit_of_a_picture_is_noticed(folder):
    """OpenCV, which reads masks, passes over some of the checksums."""
    path = folder / "p/OK/a.png"
    sound = path.read_bytes()
    assert is_sound_png(path)
    for bit in range(8 * len(sound)):
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert not is_sound_png(path), f"bit {bit}"
    for data in (b"", sound[:-1], sound[:50], sound + b"x", b"GIF89a"):
        path.write_bytes(data)
        assert not is_sound_png(path)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
@pytest.mark.parametrize(
    ("read", "left"),
    [
        (read_aligned, ["1-of-2.parquet", "truth.parquet"]),
        (read_warped, ["0-of-2.parquet", "1-of-2.parquet"]),
    ],
)
def test_damaged_picture_takes_the_table_that_lists_it_along(folder, read, left, damage):
    """Its job runs again, and no other; until then the picture is not taken for none."""
    path = folder / "p/OK/a.png"
    assert read(folder, "p/OK/a").shape[:2] == (9, 7)
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-9] if damage == "cut" else data[:60] + b"\0" + data[61:])
    with pytest.raises(
        ArtifactError, match=r"a.png: this picture is missing or damaged; run again"
    ):
        read(folder, "p/OK/a")
    assert tables(folder) == sorted(left)
    read(folder, "p/OK/b")
