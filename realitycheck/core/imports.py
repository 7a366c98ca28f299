"""The published packages, imported without what they bring along for uses that are not ours.

Importing them takes most of the time of a job with a small network, and half of that goes into
packages that none of our models needs: the compiler's front end, on which torchvision and timm look
in passing, scikit-learn and SciPy, which transformers take for assisted text generation and losses,
their tools for debugging, the pictures of GroundingDINO's evaluation, and all architectures of timm
but the one that is built. All of them stay importable afterwards. Python's search for garbage rests
meanwhile: it goes over what was imported again and again, and all of that is in use.
"""

import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from types import ModuleType
from typing import Any


def _unchanged(function: Any = None, *_args: Any, **_options: Any) -> Any:
    """A decorator, or one that is made by its options, that does nothing."""
    return (lambda inner: inner) if function is None else function


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function or class that is imported when it is first called."""

    def called(*args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **options)

    return called


# What the packages look at while they are imported, by module, and what they find there.
_STAND_INS: dict[str, dict[str, Any]] = {
    "torch._dynamo": {"__path__": [], "disable": _unchanged, "allow_in_graph": _unchanged},
    "torch._dynamo.utils": {
        "is_compile_supported": _later("torch._dynamo.utils", "is_compile_supported"),
    },
    "torch._dynamo._trace_wrapped_higher_order_op": {
        "TransformGetItemToIndex": _later(
            "torch._dynamo._trace_wrapped_higher_order_op", "TransformGetItemToIndex"
        ),
    },
    "transformers.model_debugging_utils": {
        "model_addition_debugger_context": _later(
            "transformers.model_debugging_utils", "model_addition_debugger_context"
        ),
    },
    "groundingdino.util.visualizer": {
        "COCOVisualizer": _later("groundingdino.util.visualizer", "COCOVisualizer"),
    },
}


def _timm_shells() -> dict[str, ModuleType]:
    """Packages of timm without what they import: only modules that are asked for come."""
    top = None if "timm" in sys.modules else importlib.util.find_spec("timm")
    if top is None:
        return {}
    inner = importlib.machinery.PathFinder.find_spec("timm.models", top.submodule_search_locations)
    shells = {spec.name: importlib.util.module_from_spec(spec) for spec in (top, inner)}
    shells["timm"].__version__ = metadata.version("timm")
    return shells


@contextlib.contextmanager
def lean_imports(*, without: tuple[str, ...] = ("sklearn", "scipy")) -> Iterator[None]:
    """Let packages be imported without what they can do without.

    What something else has imported before stays as it is. Functions that timm and transformers
    mark for the compiler are left unmarked; none of them is in a part that is compiled here.

    Args:
        without: Packages that look as if they were not installed.
    """
    with without_garbage_collection():
        import torch  # noqa: F401  # in full, before anything stands in for a part of it

        modules: dict[str, ModuleType | None] = {**_timm_shells(), **dict.fromkeys(without)}
        for name, content in _STAND_INS.items():
            modules[name] = ModuleType(name)
            vars(modules[name]).update(content)
        modules = {name: module for name, module in modules.items() if name not in sys.modules}
        sys.modules.update(modules)  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name in modules:
                sys.modules.pop(name, None)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Let no search for garbage interrupt imports, whose objects are all in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
