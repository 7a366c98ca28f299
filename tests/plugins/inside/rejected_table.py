"""How many parts each run rejects."""

from realitycheck.core.tables import INTEGER, TEXT, Schema
from realitycheck.report.tables.base import Section, dataset_name, method_name
from realitycheck.report.text import table_by_run

FIELDS = (("dataset", TEXT), ("method", TEXT), ("prompt", TEXT), ("n_rejected", INTEGER))
NAMES = (("dataset_name", TEXT), ("method_name", TEXT))
SCHEMAS = {"rejected": Schema("rejected", FIELDS + NAMES, ("dataset", "method", "prompt"))}
SETTINGS = ()


def compute(results):
    """Count the rejected parts of each run."""
    scores = results.scores(results.runs("labels"))
    is_rejected = scores["label_predicted"] == "NOK"
    keys = ["dataset", "method", "prompt"]
    table = scores.assign(n_rejected=is_rejected).groupby(keys)["n_rejected"].sum().reset_index()
    table["dataset_name"] = [dataset_name(d, results.datasets) for d in table["dataset"]]
    table["method_name"] = [method_name(m, results.methods) for m in table["method"]]
    return {"rejected": table}


def texts(tables):
    """Write the table for people."""
    header = ["Data set", "Method", "Prompt", "Rejected"]
    text = table_by_run(
        "Parts rejected",
        header,
        tables["rejected"],
        lambda row: [str(row["n_rejected"])],
        n_text_columns=3,
        legend=[],
    )
    return {"rejected": [text]}


def section(tables):
    """Give the section of the page."""
    return Section(texts(tables)["rejected"], heading="How much is rejected")
