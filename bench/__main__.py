"""What the command ``railgauge`` starts. It ends with 3 where a module is missing: that is no FAIL of a cluster."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Where a library cannot be loaded, the exit status means INCONCLUSIVE, never FAIL."""
    try:
        from bench.cli import main as command_line

        command_line()
    except Exception as error:  # Python would end with 1, which means FAIL
        import traceback

        from bench.model.errors import EXIT_INCONCLUSIVE, broken_installation

        traceback.print_exc()
        print(f"railgauge: {broken_installation(error)}", file=sys.stderr)
        sys.exit(EXIT_INCONCLUSIVE)


if __name__ == "__main__":
    main()
