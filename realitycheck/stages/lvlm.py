"""Stage 5: what a job does that asks a vision language model about a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.terminal import say
from realitycheck.lvlm.backends.registry import REPLAY, backend_for, service_of
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import prices_of
from realitycheck.lvlm.progress import progress_bar
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.runner import ask, estimate
from realitycheck.lvlm.verdict_rows import Answers, answers_of


def ask_dataset(
    questions: Sequence[Question],
    keys: Mapping[str, str],
    *,
    settings: Mapping[str, Any],
    may_leave_site: bool,
) -> Answers:
    """Ask the questions of one data set, method and prompt set; estimate and cost are printed.

    Args:
        questions: From `questions_of` of the kind's classifier.
        keys: `dataset`, `method` and `prompt` of the rows.
        settings: Of the method.
        may_leave_site: The data set's setting.

    Raises:
        MissingKeyError: If the key is not where the settings say.
        RunStoppedError: If the run ended early; all answers so far are in the ledger.
    """
    prices, backend = prices_of(settings), backend_for(settings)
    expected = estimate(questions, settings["ledger"], prices=prices)
    say(expected.text())
    say(destination(settings))
    with progress_bar(" ".join(keys.values())) as show:
        answers = ask(
            questions,
            settings["ledger"],
            backend=backend,
            prices=prices,
            may_leave_site=may_leave_site,
            max_cost_usd=settings["max_cost_usd"],
            accepted_models=settings["accepted_models"],
            rate_limits=RateLimits.of(settings),
            progress=show,
            **keys,
        )
    say(answers.cost.text())
    return answers


def destination(settings: Mapping[str, Any]) -> str:
    """Where a method's questions go, in words; asks and resolves nothing."""
    if settings["backend"] == REPLAY:
        return "answers come from the ledger alone"
    return service_of(settings["service"]).endpoint_of(settings).text()


def known_rows(
    questions: Sequence[Question], keys: Mapping[str, str], *, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Rows where there is no key to ask with: what the ledger holds, and `no_key` for the rest.

    Args:
        questions: All questions of a run.
        keys: `dataset`, `method` and `prompt` of the rows.
        settings: Of the method.
    """
    known = {
        "keys": keys,
        "prices": prices_of(settings),
        "accepted_models": settings["accepted_models"],
    }
    if Path(settings["ledger"]).is_file():
        with Ledger(settings["ledger"], read_only=True) as ledger:
            rows, _ = answers_of(questions, ledger, **known)
    else:
        rows, _ = answers_of(questions, None, **known)
    is_open = rows["status"] == "not_asked"
    return rows.assign(finish_reason=rows["finish_reason"].mask(is_open, "no_key"))
