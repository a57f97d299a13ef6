"""``python -m ftdeploy.serve``: `ftdeploy serve` where no ftdeploy is installed, with the part that a bundle carries.

In the ``src`` folder of a bundle it serves that bundle.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ftdeploy.errors import FtdeployError
from ftdeploy.serve import serve


def main() -> int:
    """Read the arguments, serve, and say in three parts why not; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ftdeploy.serve", description="Serve a bundle over HTTP.")
    here = Path(__file__).resolve().parents[3]
    parser.add_argument("bundle", nargs="?", type=Path, default=here, help="its folder; by default the one around this")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all of IPv4, :: for all of IPv6"
    )
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    parser.add_argument("--keys", type=Path, help="want a bearer key of this file")
    parser.add_argument("--tls-cert", type=Path, help="speak HTTPS: PEM file of the certificate, chain included")
    parser.add_argument("--tls-key", type=Path, help="PEM file of the certificate's key")
    parser.add_argument("--workers", type=int, help="processes that answer; 0: one for every eight processors")
    given = parser.parse_args()
    try:
        tls = (given.tls_cert, given.tls_key)
        return serve(given.bundle, host=given.host, port=given.port, keys=given.keys, tls=tls, workers=given.workers)
    except FtdeployError as error:
        sys.stderr.write(f"{error.title}: {error.what}\n  why: {error.cause}\n  fix: {error.fix}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
