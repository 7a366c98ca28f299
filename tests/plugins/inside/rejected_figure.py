"""How many parts each run rejects, as a bar."""

from realitycheck.report.figures.style import new_figure, place_axes, styled, write_head

TITLE = "Parts rejected"
CAPTION = "A bar for each run."
ALT = "The numbers stand in the table of rejected parts."


def plot(results, dataset, *, title):
    """Draw the bars."""
    table = results.table("rejected")
    with styled():
        figure = new_figure(4, 3)
        write_head(figure, title=title)
        axes = place_axes(figure, 0.6, 0.5, width=3, height=2)
        axes.bar(range(len(table)), table["n_rejected"])
    return figure
