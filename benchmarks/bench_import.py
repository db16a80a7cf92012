"""Time of `fpm --help`, and a check that it loads no heavy package.

Run `python benchmarks/bench_import.py`. Floor: a Python that does nothing. For scale: `import feast`, `import torch`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import measure

HELP = "import sys; sys.argv = ['fpm', '--help']; from fpm.commands.cli import main; main()"
LOADED = (
    "import json, sys\nsys.argv = ['fpm', '--help']\nfrom fpm.commands.cli import main\n"
    "try:\n    main()\nexcept SystemExit:\n    print(json.dumps(sorted(sys.modules)))"
)
HEAVY = ("torch", "feast", "cvxpy", "sqlalchemy", "psycopg", "pandas", "scipy", "plotly", "pyarrow", "polars", "numpy")
FORBIDDEN = HEAVY[:2]  # "no torch or feast loaded until needed"


def python(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def loaded() -> list[str]:
    """Return the heavy packages that `fpm --help` loads."""
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, stdout=subprocess.PIPE, text=True)
    names = set(json.loads(done.stdout.splitlines()[-1]))
    return [name for name in HEAVY if name in names]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    programs = {"python -c pass": "pass", "fpm --help": HELP}
    python(HELP)  # the first run writes byte code
    spent = measure.interleaved(
        {name: lambda program=program: python(program) for name, program in programs.items()}, 5
    )
    for name in ("import feast", "import torch"):
        spent[name] = measure.seconds(lambda name=name: python(name), 1)
    floor = spent["python -c pass"]
    rows = [[name, seconds, seconds / floor] for name, seconds in spent.items()]
    measure.show("start", ["program", "seconds", "x python"], rows)
    heavy = loaded()
    print(f"loaded by fpm --help: {', '.join(heavy) or 'none of ' + ', '.join(HEAVY)}")
    if forbidden := [name for name in FORBIDDEN if name in heavy]:
        sys.exit(f"{forbidden} must not be loaded for --help")


if __name__ == "__main__":
    main()
