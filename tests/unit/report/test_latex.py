"""Every table compiles in an article, by a real LaTeX where there is one."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from realitycheck.report.tables import best_of, confusion
from realitycheck.report.tables.audit import audit_text
from realitycheck.report.tables.breakdown import breakdown_text
from realitycheck.report.tables.classification import classification_text
from realitycheck.report.tables.comparison import comparison_text
from realitycheck.report.tables.detection_probability import detection_texts
from realitycheck.report.tables.labels import labels_text
from realitycheck.report.tables.line import line_text
from realitycheck.report.tables.readiness import readiness_text
from realitycheck.report.tables.segmentation import segmentation_text
from realitycheck.report.tables.study_text import study_text
from realitycheck.report.text import render_latex

ARTICLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def sources(sample_results, tmp_path_factory):
    """Every table of a run as LaTeX; a name and a note hold what LaTeX would take as commands."""
    folder = tmp_path_factory.mktemp("tables")
    sample_results.write_sample(folder, n_ok=5, n_nok=6, image_size_px=48)
    tables = {path.stem: pd.read_parquet(path) for path in (folder / "tables").glob("*.parquet")}
    for table in tables.values():
        if "dataset_name" in table:
            table["dataset_name"] = r"50 % of $_{the}^ & #plates\~"
    texts = [
        segmentation_text(tables["segmentation"]),
        classification_text(tables["classification"]),
        *(study_text(tables[name], name) for name in ("segmentation", "classification")),
        *confusion.texts(tables)["confusion"],
        readiness_text(tables["readiness"]),
        *best_of.texts(tables)["best_of"],
        line_text(tables["line"]),
        labels_text(tables["labels"], tables["label_images"]),
        *detection_texts(tables["detection_probability"], tables["detection_bins"]),
        breakdown_text(tables["breakdown"]),
        comparison_text(tables["comparison"]),
        audit_text(tables["audit"]),
    ]
    return [render_latex(text, f"tab:{number}") for number, text in enumerate(texts)]


def test_braces_environments_and_columns_fit(sources):
    """What can be told without LaTeX."""
    for source in sources:
        bare = re.sub(r"\\[\\{}&%$#_]", "", source)
        assert bare.count("{") == bare.count("}")
        begun = re.findall(r"\\begin\{(\w+)\}", source)
        ended = re.findall(r"\\end\{(\w+)\}", source)
        assert sorted(begun) == sorted(ended)
        (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", source)
        body = source[source.index(r"\toprule") : source.index(r"\bottomrule")]
        for row in body.splitlines():
            if row.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row


def test_article_compiles(sources, tmp_path):
    """Characters included that only a compiler complains of."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine (apt: texlive-latex-recommended)")
    (tmp_path / "article.tex").write_text(ARTICLE % "\n".join(sources), encoding="utf-8")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert (tmp_path / "article.pdf").stat().st_size > 10_000
