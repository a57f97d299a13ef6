"""``python -m ftdeploy`` and the ``ftdeploy`` command: the one place that prints errors and exits."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ftdeploy.errors import FtdeployError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


#: Extra -> the modules that come with it and that ftdeploy imports where it needs them.
EXTRAS = {
    "train": ("accelerate", "charset_normalizer", "datasets", "evaluate", "huggingface_hub", "optimum", "pyarrow",
              "safetensors", "torch", "transformers"),
    "data": ("cleanlab", "ftfy", "phonenumbers", "py3langid", "sklearn"),
    "tune": ("optuna", "sklearn"),
    "lora": ("peft",),
    "presidio": ("presidio_analyzer",),
    "compress": ("neural_compressor", "onnx_ir", "onnx_neural_compressor", "pkg_resources", "six"),
    "bench": ("nncf", "openvino"),
    "serve": ("bentoml", "httptools", "orjson", "starlette", "uvicorn", "uvloop"),
}  # fmt: skip


def main() -> None:
    """Run the command line; the exit status of each error class is its own (``ftdeploy.errors.EXIT_CODES``)."""
    # No hub is asked for anything unless the recipe names one, and nobody is told what is run here.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # torch's threads spin while they wait for one another. On a machine of one's own that gains a little; beside one
    # busy neighbour training ran at 31 rows a second spinning and at 53 waiting, beside two it all but stood still.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # So do OpenBLAS's, for 2**26 ticks after each product, however small. Beside two neighbours the shifts that a
    # bundle learns from took 10 s of processor, and 0.6 s when the threads sleep at once (2**4 ticks).
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # What is left at the end goes with the process. Looking through all that torch and transformers leave behind for
    # what could be freed took a second and more of processor after every command that had imported them.
    atexit.register(gc.freeze)
    from ftdeploy.cli import app
    from ftdeploy.errors import FtdeployError

    try:
        app()
    except FtdeployError as error:
        _end_with(error)
    except ModuleNotFoundError as error:
        missing = _missing_extra(error)
        if missing is None:
            raise  # not a module of an extra: a fault of ftdeploy or of the installation, told with its trace
        _end_with(missing)
    except (KeyboardInterrupt, SystemExit) as ended:
        # typer turns the interrupt into an exit of its own.
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        sys.stderr.write("\ninterrupted; finished stages are kept, run again to go on\n")
        sys.exit(INTERRUPTED)


def _end_with(error: FtdeployError) -> NoReturn:
    from ftdeploy.console import show_error

    show_error(error, as_json="--json" in sys.argv)
    sys.exit(error.exit_code)


def _missing_extra(error: ModuleNotFoundError) -> FtdeployError | None:
    """The error for a module that an extra brings; None for any other."""
    from ftdeploy.errors import DependencyError

    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    return DependencyError(
        f"the module {module} is not installed",
        cause=f"ftdeploy was installed without its extra `{extra}`",
        fix=f"pip install 'ftdeploy[{extra}]'; 'ftdeploy[all]' brings what every command needs",
    )


if __name__ == "__main__":
    main()
