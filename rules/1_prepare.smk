"""Stage 1, prepare: from raw folders, archives and addresses to checked inputs.

Reads   raw folders, addresses with their sha256
Writes  <results>/raw/{dataset}/, <results>/manifests/, <results>/weights/, resources/

Network is used here and nowhere else, by local rules.
"""


localrules:
    fetch_dataset,
    fetch_weights,
    check_inputs,


rule fetch_dataset:
    """Download a public data set, check its hash and unpack it, or say what to put where."""
    output:
        record="<results>/raw/{dataset}/fetched.json",
    log:
        "logs/fetch_dataset/{dataset}.log",
    benchmark:
        "benchmarks/fetch_dataset/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        api_calls=1,
        mem_mb=1_000,
        runtime=240,
    params:
        format=of_dataset(format_of),
        root=of_dataset(root_of),
    message:
        "Data set {wildcards.dataset}: fetch"
    script:
        "../scripts/fetch_dataset.py"


rule generate_dataset:
    """Draw a synthetic data set with exact truth."""
    output:
        truth="<results>/raw/{dataset}/truth.csv",
    log:
        "logs/generate_dataset/{dataset}.log",
    benchmark:
        "benchmarks/generate_dataset/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=more_each_time(1_000),
        runtime=more_each_time(60),
    params:
        format=of_dataset(format_of),
        settings=of_dataset(cfg.generator_settings),
        code=of_dataset(code_of_drawing),
    message:
        "Data set {wildcards.dataset}: generate"
    script:
        "../scripts/generate_dataset.py"


rule prepare_dataset:
    """Check every image and mask of a data set and list them in a manifest.

    The outputs are `update`d: when the check fails those of the last one stay, and the digests in
    them still say which results are up to date once the fault is mended.
    """
    input:
        raw_record,
    output:
        manifest=update("<results>/manifests/{dataset}.parquet"),
        train=update("<results>/manifests/{dataset}/train.parquet"),
        references=update("<results>/manifests/{dataset}/references.parquet"),
        digests=update("<results>/manifests/{dataset}/digests.json"),
        inventory=update("<results>/manifests/{dataset}/inventory.parquet"),
    log:
        "logs/prepare_dataset/{dataset}.log",
    benchmark:
        "benchmarks/prepare_dataset/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: of_dataset(plan.resources.image_threads)
    resources:
        mem_mb=more_each_time(2_000),
        runtime=more_each_time(120),
    params:
        settings=of_dataset(cfg.preparation_settings),
        inventory=of_dataset(plan.inventory),
        code=of_dataset(code_of_listing),
    message:
        "Data set {wildcards.dataset}: check images and masks"
    script:
        "../scripts/prepare_dataset.py"


rule audit_dataset:
    """Check a data set for leakage, duplicates and label faults, before anything costs time."""
    input:
        manifest="<results>/manifests/{dataset}.parquet",
        train="<results>/manifests/{dataset}/train.parquet",
        references="<results>/manifests/{dataset}/references.parquet",
    output:
        findings="<results>/manifests/{dataset}/audit.parquet",
    log:
        "logs/audit_dataset/{dataset}.log",
    benchmark:
        "benchmarks/audit_dataset/{dataset}.tsv"
    conda:
        "../envs/base.yaml"
    threads: of_dataset(plan.resources.image_threads)
    resources:
        mem_mb=2_000,
        runtime=120,
    params:
        audited=of_dataset(plan.audited),
        intensity=of_dataset(intensity_of),
        code=of_dataset(code_of_audit),
    message:
        "Data set {wildcards.dataset}: audit"
    script:
        "../scripts/audit_dataset.py"


rule fetch_weights:
    """Download the files of a network, or accept those put there by hand, and check their hashes.

    The files themselves are no outputs: Snakemake would delete a finished download of gigabytes
    before it asks for it again. The record of the last check stays when one fails, as above.
    """
    output:
        record=update("<results>/weights/{network}.json"),
    log:
        "logs/fetch_weights/{network}.log",
    benchmark:
        "benchmarks/fetch_weights/{network}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        api_calls=1,
        mem_mb=2_000,
        runtime=240,
    params:
        files=lambda wildcards: plan.network_files(wildcards.network),
        signature=lambda wildcards: plan.weights_signature(wildcards.network),
    message:
        "Network {wildcards.network}: weights"
    script:
        "../scripts/fetch_weights.py"


checkpoint check_inputs:
    """Note that every data set and every network's files passed their checks, and the audit.

    All work that costs anything starts after this point. It is a checkpoint so that what follows is
    planned anew from the content of the inputs: a file that was only touched re-runs nothing.
    """
    input:
        manifests=expand(
            "<results>/manifests/{dataset}/digests.json", dataset=cfg.datasets
        ),
        audits=expand(
            "<results>/manifests/{dataset}/audit.parquet", dataset=cfg.datasets
        ),
        weights=expand("<results>/weights/{network}.json", network=cfg.used_networks()),
    output:
        record="<results>/manifests/checked.json",
    log:
        "logs/check_inputs/all.log",
    benchmark:
        "benchmarks/check_inputs/all.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "All inputs are checked"
    script:
        "../scripts/check_inputs.py"
