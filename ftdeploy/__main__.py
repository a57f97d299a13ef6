"""``python -m ftdeploy`` and the ``ftdeploy`` command: the one place that prints errors and exits."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command line; the exit status of each error class is its own (``ftdeploy.errors.EXIT_CODES``)."""
    # No hub is asked for anything unless the recipe names one, and nobody is told what is run here.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from ftdeploy.cli import app
    from ftdeploy.errors import FtdeployError

    try:
        app()
    except FtdeployError as error:
        from ftdeploy.console import show_error

        show_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as ended:
        # typer turns the interrupt into an exit of its own.
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        sys.stderr.write("\ninterrupted; finished stages are kept, run again to go on\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
