"""The published packages, imported without what they bring along for uses that are not ours.

Importing them takes most of the time of a job with a small network, and half of that goes into
packages that none of our models needs: the compiler's front end, on which torchvision, timm and
transformers look in passing, and with it SymPy; scikit-learn and SciPy, which transformers take for
assisted text generation and losses; their tools for debugging, for training on many machines, and
for the export to ONNX; the pictures of GroundingDINO's evaluation; and all architectures of timm,
torchvision and transformers but what is built, the last of which read the source of each of them
for a list. All of them stay importable afterwards. Python's search for garbage rests meanwhile: it
goes over what was imported again and again, and all of that is in use.
"""

import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
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
    "torch._dynamo": {
        **{"__path__": [], "disable": _unchanged, "allow_in_graph": _unchanged},
        "graph_break": lambda: None,
    },
    "torch._dynamo.utils": {
        "is_compile_supported": _later("torch._dynamo.utils", "is_compile_supported"),
    },
    "torch._dynamo._trace_wrapped_higher_order_op": {
        "TransformGetItemToIndex": _later(
            "torch._dynamo._trace_wrapped_higher_order_op", "TransformGetItemToIndex"
        ),
    },
    # Asked for as classes, of tensors on many machines and of masks for the compiler.
    "torch.distributed.tensor": {"DTensor": type("DTensor", (), {})},
    "torch.nn.attention.flex_attention": {
        "_DEFAULT_SPARSE_BLOCK_SIZE": 128,
        "BlockMask": type("BlockMask", (), {}),
        **{
            name: _later("torch.nn.attention.flex_attention", name)
            for name in ("create_block_mask", "flex_attention")
        },
    },
    "torchvision.ops._register_onnx_ops": {"_register_custom_op": lambda: None},
    "transformers.integrations.tensor_parallel": {
        name: _later("transformers.integrations.tensor_parallel", name)
        for name in (
            *("_get_parameter_tp_plan", "distribute_model", "initialize_tensor_parallelism"),
            *("repack_weights", "replace_state_dict_local_with_dtensor"),
            *("shard_and_distribute_module", "verify_tp_plan"),
        )
    },
    "transformers.model_debugging_utils": {
        "model_addition_debugger_context": _later(
            "transformers.model_debugging_utils", "model_addition_debugger_context"
        ),
    },
    "transformers.processing_utils": {"Unpack": typing.Unpack},
    "groundingdino.util.visualizer": {
        "COCOVisualizer": _later("groundingdino.util.visualizer", "COCOVisualizer"),
    },
}


_BERT = "transformers.models.bert"

#: Packages that stay without what they import, and where the names lie that are taken from them.
#: The names without a place are called by other text encoders only.
_SHELLS: dict[str, dict[str, str | None]] = {
    "timm": {},
    "torchvision": {"_is_tracing": "torch.jit:is_tracing"},
    "transformers": {
        "AddedToken": "tokenizers:AddedToken",
        "BertConfig": f"{_BERT}.configuration_bert:BertConfig",
        "BertModel": f"{_BERT}.modeling_bert:BertModel",
        "BertPreTrainedModel": f"{_BERT}.modeling_bert:BertPreTrainedModel",
        "BertTokenizer": f"{_BERT}.tokenization_bert:BertTokenizer",
        "BertTokenizerFast": f"{_BERT}.tokenization_bert_fast:BertTokenizerFast",
        **dict.fromkeys(("AutoTokenizer", "RobertaModel", "RobertaTokenizerFast")),
    },
}


def _shells(package: str) -> dict[str, ModuleType]:
    """A package and its models without what they import: only modules that are asked for come.

    What else is asked for when nothing stands in any more is taken from the package itself.
    """
    top = None if package in sys.modules else importlib.util.find_spec(package)
    if top is None:
        return {}
    inner = importlib.machinery.PathFinder.find_spec(
        f"{package}.models", top.submodule_search_locations
    )
    shells = {spec.name: importlib.util.module_from_spec(spec) for spec in (top, inner)}

    def find(name: str) -> Any:
        if name in _SHELLS[package]:
            place = _SHELLS[package][name]
            return pkgutil.resolve_name(place) if place else _later(package, name)
        if sys.modules.get(package) is shells[package] or name.startswith("__"):
            raise AttributeError(f"{package}: {name} was left out here")
        return getattr(importlib.import_module(package), name)

    vars(shells[package]).update(__version__=metadata.version(package), __getattr__=find)
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

        modules: dict[str, ModuleType | None] = {}
        for package in _SHELLS:
            modules |= _shells(package)
        modules |= dict.fromkeys(without)
        modules |= {name: _stand_in(name) for name in _STAND_INS}
        with _standing_in(modules):
            yield


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Let optimisers work without the compiler's front end, which each step asks for in passing."""
    with _standing_in({"torch._dynamo": _stand_in("torch._dynamo")}):
        yield


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(_STAND_INS[name])
    return module


@contextlib.contextmanager
def _standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Put modules where nothing was imported yet, and take them away again."""
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
