"""Verdicts from end to end: models are asked on servers of this machine, baselines learn, and all
meet in Table 2."""

import copy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

KEY = "AIza-a-key-that-must-appear-nowhere-9876543210"
N_IMAGES = 16
SETTINGS = {
    "datasets": {
        "sat": {
            "format": "synthetic_sat",
            "n_ok": 12,
            "n_nok": 4,
            "n_train": 3,
            "image_size_px": 96,
            "may_leave_site": True,
            "object_name": "package",
            "defect_names": ["a void"],
        }
    },
    "prompts": {
        "sat": {
            "basic": {"lvlm": "Please look for defects."},
            "refined": {"lvlm": "Does this {object} have {defects}?"},
        }
    },
    "methods": {
        "gemini": {
            "kind": "lvlm",
            "key_env": "KEY_OF_THE_TEST",
            "in_flight": 2,
            "requests_per_minute": None,
            "max_cost_usd": 1,
        },
        "clip_zero_shot": {},
        "tuned_clip": {"n_folds": 2, "n_steps": 3},
        "resnet_mlp": {"input_size_px": 96, "n_folds": 2, "max_epochs": 10},
        "pixel_difference": {"min_area_px": 5},
    },
    "models": ["resnet", "clip"],
    "compute": {"device": "cpu", "threads": 1},
    "evaluation": {"n_resamples": 200},
}


#: What scikit-learn deals folds with.
FOLDS = {"sklearn", "scipy.stats", "scipy.optimize"}
#: Large packages that jobs may import, by how their script begins and by encoder or method.
MAY_IMPORT = {
    "audit_dataset": FOLDS,
    "encode clip_features": {"torch", "torchvision", "open_clip"},
    "encode resnet_features": {"torch", "torchvision", "timm"},
    "classify clip_zero_shot": {"torch", "torchvision", "open_clip"},
    "classify resnet_mlp": FOLDS,
    "classify tuned_clip": {"torch", "torchvision", "open_clip", *FOLDS},
}


@pytest.fixture(scope="module")
def servers():
    """The two protocol servers."""
    import gemini_server
    import openai_server

    return SimpleNamespace(gemini=gemini_server, openai=openai_server)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A key of the test's own, and no other."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEY_OF_THE_TEST", KEY)


@pytest.fixture(scope="session")
def made(made_once):
    """All stages before the questions, which the tests of all workers share."""
    verdicts = ("resnet_mlp", "clip_zero_shot", "tuned_clip")
    return made_once(
        "verdicts",
        SETTINGS,
        "results/aligned/sat/transforms.parquet",
        *(f"results/verdicts/sat/{method}/none/labels.parquet" for method in verdicts),
        "results/scores/sat/pixel_difference/none/pixels.parquet",
        "results/scores/sat/pixel_difference_area/none/images.parquet",
    )


@pytest.fixture
def run(made, tmp_path):
    """A copy of it."""
    return made.copy_to(tmp_path / "run")


def test_jobs_of_classifiers_import_what_they_use(made):
    """A job is the start of Python for the most part, so nothing large comes without a use."""
    surplus, seen = made.surplus_imports(MAY_IMPORT)
    assert surplus == []
    assert seen > set(MAY_IMPORT), "all were at work, and others"


def table_2(run):
    """Rows of Table 2 by method and prompt."""
    return run.read("tables/classification.parquet").set_index(["method", "prompt"])


def answered_by(server):
    """A server that looks at the pictures, so that verdicts depend on them."""
    server.looks = True
    return server


def files_with(folder, *words):
    """Files below a folder that hold one of the words, in plain or as base64 would have it."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(word in path.read_bytes() for word in words)
    ]


@pytest.mark.long
def test_gemini_on_a_server_of_this_machine_gives_table_2_once(run, servers):
    """Asked, asked again, with another word in one prompt, and without the key.

    What was answered is never paid for twice, every image has its row, floors stand beside it, and
    no file of any kind holds the key.
    """
    with answered_by(servers.gemini.GeminiServer()) as server:
        run.settings["methods"]["gemini"]["base_url"] = server.url
        said = run.finish()
        assert len(server.paid) == 2 * N_IMAGES and server.repeats() == 0
        assert server.most_at_once <= 2
        assert {a.headers["x-goog-api-key"] for a in server.paid} == {KEY}
        assert all(len(servers.gemini.images_of(arrival)) == 2 for arrival in server.paid)
        table = table_2(run)
        for prompt in ("basic", "refined"):
            row = table.loc[("gemini", prompt)]
            assert (row["n_answered"], row["n_ok"], row["n_nok"]) == (N_IMAGES, 12, 4)
            assert row["f2_floor"] > 0 and row["cost_per_1000_parts_usd"] > 0
        others = ("resnet_mlp", "clip_zero_shot", "tuned_clip")
        for other in (*others, "pixel_difference", "pixel_difference_area"):
            assert table.loc[(other, "none"), "n_answered"] == N_IMAGES
        for floor in ("reject_everything", "accept_everything", "coin_at_prevalence"):
            assert (floor, "none") in table.index
        confusion = run.read("tables/confusion.parquet")
        assert len(confusion) == len(table) and (confusion["n_images"] == N_IMAGES).all()

        assert "Nothing to be done" in run.finish()
        run.settings["prompts"]["sat"]["refined"]["lvlm"] = "Does this {object} show {defects}?"
        assert run.planned_jobs()["ask_lvlm"] == 1
        run.finish("results/tables/classification.parquet")
        assert len(server.paid) == 3 * N_IMAGES
        # Another model would be asked its own questions; of the rest, only the report would follow.
        run.settings["methods"]["gemini"]["model"] = "gemini-3.1-pro-preview"
        planned = run.planned_jobs("tables")
        assert (planned.pop("ask_lvlm"), planned.pop("score_labels_sat")) == (2, 1)
        assert "tabulate" in planned
        assert {rule.partition("_")[0] for rule in planned} == {"tabulate"}
        run.settings["methods"]["gemini"]["model"] = "gemini-3.8-flash"
        # Every output gone: all verdicts come back out of the ledger.
        shutil.rmtree(run.results / "verdicts" / "sat" / "gemini")
        run.finish("results/tables/classification.parquet")
        assert len(server.paid) == 3 * N_IMAGES
    assert KEY not in said
    assert files_with(run.folder, KEY.encode(), KEY[6:20].encode()) == []
    assert files_with(run.folder, b"KEY_OF_THE_TEST")  # the search does find what is there


def test_openai_compatible_server_gives_the_same_table(run, servers):
    """The other protocol, on site, for images that may not leave it; without a limit on money."""
    run.settings["datasets"]["sat"]["may_leave_site"] = False
    with answered_by(servers.openai.OpenAIServer()) as server:
        run.settings["methods"]["gemini"] |= {
            "backend": "openai_compatible",
            "base_url": f"{server.url}/v1",
            "model": "own-model",
            "price": {"input": 1, "output": 1},
        }
        run.finish("results/tables/classification.parquet")
        assert len(server.paid) == 2 * N_IMAGES and server.repeats() == 0
        row = table_2(run).loc[("gemini", "basic")]
        assert (row["n_answered"], row["model"]) == (N_IMAGES, "own-model")
        # 700 tokens in and 90 out at 1 USD per million
        assert row["cost_per_1000_parts_usd"] == pytest.approx(0.79)
    assert files_with(run.folder, KEY.encode()) == []


def test_images_that_may_not_leave_are_not_sent(run, servers):
    """The message says why and what to do instead; the server saw nothing."""
    run.settings["datasets"]["sat"]["may_leave_site"] = False
    with servers.gemini.GeminiServer() as server:
        run.settings["methods"]["gemini"]["base_url"] = server.url
        said = run.fail("results/verdicts/sat/gemini/basic/labels.parquet")
        assert server.arrivals == []
    assert "may_leave_site" in said and "openai_compatible" in said
    assert not (run.results / "verdicts/sat/gemini/basic/labels.parquet").exists()


def test_without_a_key_the_row_says_so(run, monkeypatch):
    """The demo has no key; nothing fails and nothing vanishes."""
    monkeypatch.delenv("KEY_OF_THE_TEST")
    run.finish("results/tables/classification.md")
    row = table_2(run).loc[("gemini", "basic")]
    assert row["n_answered"] == 0 and "not asked: no key" in row["note"]
    assert row["unanswered_status"] == f"not_asked {N_IMAGES}"


@pytest.mark.long
def test_photographs_are_asked_about_too(shared, new_run, servers, tmp_path):
    """Thirty photographs of cookies, in a folder of one's own."""
    source = shared / "data" / "cookies"
    if not source.is_dir():
        pytest.skip("the photographs are not in the shared folder")
    settings = copy.deepcopy(SETTINGS)
    settings["datasets"] = {
        "cookies": {
            "format": "folder",
            "root": "data/cookies",
            "split": {"kind": "all", "train_fraction": 0.2},
            "may_leave_site": True,
        }
    }
    settings["prompts"] = {"cookies": {"basic": SETTINGS["prompts"]["sat"]["basic"]}}
    settings["methods"] = {"gemini": SETTINGS["methods"]["gemini"] | {"max_side_px": 128}}
    run = new_run(tmp_path, settings)
    shutil.copytree(source, run.folder / "data" / "cookies")
    with answered_by(servers.gemini.GeminiServer()) as server:
        run.settings["methods"]["gemini"]["base_url"] = server.url
        run.finish("results/tables/classification.parquet")
        n_scored = len(run.read("manifests/cookies.parquet"))
        assert n_scored + len(run.read("manifests/cookies/train.parquet")) == 30
        assert len(server.paid) == n_scored and server.repeats() == 0
    table = table_2(run)
    assert table.loc[("gemini", "basic"), "n_answered"] == n_scored
    assert table["f2_floor"].notna().all()
