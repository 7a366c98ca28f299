"""What a service accepts is checked before the first question."""

import numpy as np
import pytest

from realitycheck.lvlm import limits as module
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.limits import ImageLimits, check_images
from realitycheck.lvlm.questions import encoded_png, picture_of


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ImageLimits(image_bytes=100), r"3 questions .* image part/0000: an image of 32 x 24 px"),
        (ImageLimits(request_bytes=3000), r"the images of the question take [\d,]+ bytes as PNG"),
        (ImageLimits(n_images=1), "2 images in one question, at most 1 allowed"),
    ],
)
def test_images_beyond_the_limits_are_told_with_the_remedy(limits, message, make_questions):
    """All of them at once; services turn them away after the upload."""
    with pytest.raises(ValueError, match=message) as caught:
        check_images(make_questions(3), limits)
    assert "max_side_px" in str(caught.value)
    assert "examples and reference" in str(caught.value)
    check_images(make_questions(3), ImageLimits())


def test_many_faults_are_told_in_short(make_questions):
    with pytest.raises(ValueError, match=r"20 questions hold .*; and 15 more\. Set"):
        check_images(make_questions(20), ImageLimits(n_images=1))


def test_every_cloud_has_a_limit():
    for service in ("gemini", "vertex", "openai_compatible"):
        assert service_of(service).limits.request_bytes == 15_000_000


def test_no_png_is_larger_than_its_bound():
    """Else an image beyond the limit would pass unseen; noise is the worst."""
    for height, width in [(1, 1), (3, 700), (700, 3), (300, 300)]:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = picture_of(pixels)
        assert len(encoded_png(picture)) <= module._most_bytes(picture)


def test_run_and_estimate_refuse_alike(put, make_questions, servers, prices, monkeypatch, tmp_path):
    """Before anything is claimed; on the site the same images pass."""
    from realitycheck.lvlm.runner import estimate

    tight = ImageLimits(image_bytes=100)
    for service in ("gemini", "openai_compatible"):
        monkeypatch.setattr(service_of(service), "limits", tight)
    server = servers.gemini.GeminiServer()
    with server, pytest.raises(ValueError, match="takes [0-9,]+ bytes as PNG, at most 100"):
        put(make_questions(2), server.url)
    assert not server.arrivals
    with pytest.raises(ValueError, match="at most 100"):
        estimate(make_questions(2), None, prices=prices, on_site=False)
    questions = make_questions(2, service="openai_compatible")
    assert estimate(questions, None, prices=prices, on_site=True).n_to_ask == 2
    with servers.openai.OpenAIServer() as server:
        rows, _ = put(questions, server.url)
    assert rows["status"].tolist() == ["answered"] * 2
