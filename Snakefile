"""RealityCheck: can a foundation model inspect this product?

prepare → align → encode → segment, classify → evaluate → report. The settings come from the file
given with --configfile, else from config.yaml beside this file, which is the embedded demo.
"""

from snakemake.utils import min_version

min_version("9.27")

if not workflow.overwrite_configfiles:

    configfile: workflow.source_path("config.yaml")


include: "rules/common.smk"


pathvars:
    results=cfg.results_dir,


include: "rules/1_prepare.smk"
include: "rules/2_align.smk"
include: "rules/3_encode.smk"
include: "rules/4_segment.smk"
include: "rules/5_classify.smk"
include: "rules/6_evaluate.smk"
include: "rules/7_report.smk"


localrules:
    all,
    tables,
    figures,
    exports,
    score_masks,
    score_labels,
    score_areas,
    detections,
    predictions,


rule all:
    """Everything: the report, tables, figures, exports, and the boxes behind the masks."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.exports.input,
        rules.render_report.output,
        rules.detections.input,


onsuccess:
    say_what_was_found()
