# Sourced by the other scripts: makes a virtual environment beside the checkout and installs the
# lock file given as first argument into it. Does nothing when that was done before.
#
#   . tools/environment.sh tools/requirements.lock .venv
#
# Sets PYTHON to the environment's interpreter.

_lock=$1
_folder=$2

_find_python() {
  local candidate
  for candidate in "${SEPCON_PYTHON:-}" python3.11 python3.12 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
      >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  echo "sepcon: error: no Python 3.11 or 3.12 was found. Install one, or name it in SEPCON_PYTHON." >&2
  return 1
}

_stamp="$_folder/sepcon-installed"
# With what the lock includes.
_included=$(sed -n "s|^-r |${_lock%/*}/|p" "$_lock")
_wanted="$(cat "$_lock" $_included setup.py | cksum)"
if [ "$(cat "$_stamp" 2>/dev/null)" != "$_wanted" ]; then
  _base=$(_find_python) || exit 1
  echo "sepcon: installing $_lock into $_folder ($("$_base" --version)); once, a few minutes"
  # One of its own making is emptied: nothing stays that an earlier lock had and this one has not.
  "$_base" -m venv $([ ! -e "$_stamp" ] || echo --clear) "$_folder" || exit 1
  # A registry that times out once is tried again: installation is the only step that needs one.
  for _attempt in 1 2 3; do
    # One environment after the other, as what describes sepcon to pip lies in the checkout.
    "$_folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$_lock" &&
      flock setup.py "$_folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation -e . && break
    if [ "$_attempt" = 3 ]; then
      echo "sepcon: error: installation failed three times; the messages above say why." >&2
      exit 1
    fi
    sleep 10
  done
  echo "$_wanted" >"$_stamp"
fi
PYTHON="$PWD/$_folder/bin/python"
