"""Show the excess of red."""

from realitycheck.core.views import map_view


def views(segmenter, row, image, truth):
    """Show the excess of red, and what is above the threshold."""
    values = segmenter.score_map(row)
    return [
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Excess of red",
            threshold=segmenter.threshold,
            above=values > segmenter.threshold,
            truth=truth,
        )
    ]
