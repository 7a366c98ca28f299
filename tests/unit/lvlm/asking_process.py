"""A process that asks questions about drawn images, to be killed by a test.

    python asking_process.py URL LEDGER N IN_FLIGHT [TIMEOUT_S]

Prints the rows' statuses as JSON, or `stopped REASON`.
"""

import json
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np  # noqa: E402

from realitycheck.lvlm.assembly import Subject, questions_for  # noqa: E402
from realitycheck.lvlm.backends.gemini import GeminiBackend  # noqa: E402
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import read_prices  # noqa: E402
from realitycheck.lvlm.prompts import PromptTemplate  # noqa: E402
from realitycheck.lvlm.questions import picture_of  # noqa: E402
from realitycheck.lvlm.run import RunStoppedError
from realitycheck.lvlm.runner import ask  # noqa: E402


def draw(seed: int) -> np.ndarray:
    """A small picture of its own."""
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def main() -> int:
    """Ask, and say what came of it."""
    url, ledger, n, in_flight, *timeout = sys.argv[1:]
    reference = picture_of(draw(100_000))
    questions = questions_for(
        [Subject(f"{i:04d}", picture_of(draw(i)), reference) for i in range(int(n))],
        PromptTemplate("test-1", "Is it defective?"),
        service="gemini",
        model="gemini-2.5-pro",
    )
    try:
        rows, cost = ask(
            questions,
            ledger,
            backend=GeminiBackend({"base_url": url}, api_key="a-key-for-the-test"),
            dataset="d",
            method="m",
            prompt="p",
            prices=read_prices(day=date(2026, 11, 22)),
            may_leave_site=True,
            max_cost_usd=100.0,
            rate_limits=RateLimits(
                in_flight=int(in_flight),
                requests_per_minute=None,
                timeout_s=float(timeout[0]) if timeout else 30.0,
                backoff_s=0.05,
            ),
        )
    except RunStoppedError as error:
        print(f"stopped {error.reason}")
        return error.exit_code
    print(json.dumps({"statuses": rows["status"].tolist(), "requests": dict(cost.n_requests)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
