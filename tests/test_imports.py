"""How modules may lean on each other: one way only, no stage on another, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from ftdeploy.pipeline import FLOW
from ftdeploy.serve import RUNTIME

ROOT = Path(__file__).parents[1]
HEAVY = frozenset({
    "accelerate", "bentoml", "cleanlab", "datasets", "evaluate", "fairlearn", "ftfy", "neural_compressor", "nncf",
    "onnx_ir", "onnx_neural_compressor", "openvino", "optimum", "py3langid", "pyarrow", "sklearn", "torch",
    "transformers",
})  # fmt: skip
#: Imported inside functions only, or by one another, so they may import torch at their top.
LATE = frozenset({"ftdeploy.train.averaging", "ftdeploy.train.callbacks", "ftdeploy.train.trainer",
                  "ftdeploy.train.validation"})  # fmt: skip
STAGES = frozenset({"prepare", "train", "export", "compress", "validate", "package"})
#: What each module may import at its top, from the ground up. A name stands for a module and all below it.
LAYERS = (
    {"encoded", "label_sets", "neighbours", "spans", "values"},
    {
        "errors",
        "progress",
        "metrics",
        "batching",
        "starter_template",
        "child",
        "scale",
        "files",
        "reference",
        "svg",
        "user_code",
        "web_origins",
    },
    {"document"},
    {"pairs", "windows"},
    {"artifact", "hardware", "statistics", "bill", "console", "privacy", "tasks", "charts", "page"},
    {"anomaly", "columns", "origin", "report_folder", "run_folder"},
    {"checkpoints", "suite", "signature", "dataset", "folds", "verdict"},
    {"suite_fit"},
    {"recipe", "session", "temperature"},
    {"stage", "sources", "predictor", "onnx_export", "thresholds"},
    {"memory", "pooling", "populations"},
    {"measure", "drift", "serve"},
    {"traffic"},
    {"models", "monitor", "tune_service"},
    {"registry"},
    {"doctor", "prepare", "train", "export", "compress", "validate", "package", "starter_columns"},
    {"bench", "keys", "starter_rows"},
    {"overview_data"},
    {"overview"},
    {"check", "pipeline", "starter"},
    {"crossvalidate", "evaluation", "tune"},
    {"update"},
    {"cli_eval", "cli_keys", "cli_monitor", "cli_registry", "cli_traffic", "cli_update"},
    {"cli"},
    {"__main__"},
)


@dataclass(frozen=True)
class Import:
    """One imported module, and whether that happens as soon as the importing module is imported."""

    name: str
    at_once: bool


def modules(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules(ROOT / "ftdeploy")


@cache
def imports(path: Path) -> frozenset[Import]:
    """What a file imports, but for type checking only."""
    found: set[Import] = set()

    def walk(node: ast.AST, *, at_once: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.update(Import(alias.name, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.update(Import(name if name in MODULES else str(child.module), at_once) for name in names)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            walk(child, at_once=at_once and not inside)

    walk(ast.parse(path.read_text(encoding="utf-8")), at_once=True)
    return frozenset(found)


def part(module: str) -> str:
    """The part of ftdeploy that a module belongs to: ``ftdeploy.prepare.read`` is of ``prepare``."""
    return module.split(".")[1] if "." in module else ""


def layer(module: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part(module) in parts)


def test_every_module_has_its_layer() -> None:
    """A new module is put into the picture; one that is gone leaves it."""
    known = [name for parts in LAYERS for name in parts]
    assert sorted(known) == sorted({part(module) for module in MODULES} - {""})


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    """From above to below, or within the same part; also those inside functions."""
    for one in imports(MODULES[module]):
        if one.name.startswith("ftdeploy."):
            assert part(one.name) == part(module) or layer(one.name) < layer(module), f"{module} imports {one.name}"


def test_no_cycle_within_a_part() -> None:
    """Inside a package, too, modules can be read in an order in which nothing is used before it was read."""
    waiting = {
        module: {
            one.name
            for one in imports(path)
            if one.at_once and one.name in MODULES and one.name not in (module, "ftdeploy")
        }
        for module, path in MODULES.items()
    }
    while waiting:
        ready = [module for module, needs in waiting.items() if not needs & waiting.keys()]
        assert ready, f"a circle among {sorted(waiting)}"
        for module in ready:
            del waiting[module]


def test_no_stage_imports_another() -> None:
    """They meet in artifacts only, and the pipeline puts them in order."""
    assert {stage.name for stage in FLOW} == STAGES
    for module, path in MODULES.items():
        if part(module) in STAGES:
            others = {part(one.name) for one in imports(path) if one.name.startswith("ftdeploy.")} & STAGES
            assert others <= {part(module)}, f"{module} imports {others}"


def test_every_stage_reads_what_an_earlier_one_wrote() -> None:
    """FLOW never branches, and no stage waits for what nobody makes."""
    made: set[str] = set()
    for stage in FLOW:
        assert set(stage.reads) <= made, stage.name
        assert stage.writes not in made
        made.add(stage.writes)


@pytest.mark.parametrize("module", sorted(set(MODULES) - LATE))
def test_nothing_heavy_is_imported_at_the_top(module: str) -> None:
    """Frameworks that take seconds wait until the function that needs them runs, and so do `LATE` modules."""
    for one in imports(MODULES[module]):
        if one.at_once:
            assert one.name.split(".")[0] not in HEAVY, f"{module} imports {one.name} at once"
            assert one.name not in LATE, f"{module} imports {one.name} at once"


def test_late_modules_are_needed() -> None:
    """The exception stands for something: it imports a framework at its top, and somebody imports it in a function, or
    it is of another that is."""
    for module in LATE:
        assert any(one.at_once and one.name.split(".")[0] in HEAVY for one in imports(MODULES[module]))
        late = {Import(module, at_once=True)} & {one for other in LATE - {module} for one in imports(MODULES[other])}
        assert late or any(Import(module, at_once=False) in imports(path) for path in MODULES.values())


def runtime_modules() -> dict[str, Path]:
    return {
        module: path for module, path in MODULES.items() if path.relative_to(ROOT / "ftdeploy").as_posix() in RUNTIME
    }


def test_a_bundle_carries_what_its_service_imports() -> None:
    """`bentos/` imports of ftdeploy what a bundle holds, and that leans on nothing else of ftdeploy when imported."""
    carried = runtime_modules()
    assert len(carried) == len(RUNTIME)
    sources = {**{str(path): path for path in (ROOT / "bentos").rglob("*.py")}, **carried}
    for name, path in sources.items():
        for one in imports(path):
            if one.at_once and one.name.split(".")[0] == "ftdeploy":
                assert one.name in carried, f"{name} imports {one.name}, which a bundle does not have"


def test_only_the_command_line_writes_to_the_screen() -> None:
    """The library never prints; workers that are processes of their own write what their parent reads."""
    for module, path in MODULES.items():
        source = path.read_text(encoding="utf-8")
        if part(module) != "console" and 'if __name__ == "__main__":' not in source:
            calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
            assert not {"print", "sys.stdout.write", "sys.stderr.write"} & set(calls), module
