"""Parts of the package that need libraries which reading does not: named in one sentence where missing."""

from importlib.util import find_spec

from xgen.errors import XgenError


def require_extra(extra: str, *modules: str) -> None:
    """Raise XgenError, with the command that installs them, unless all `modules` of an extra are there."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        what = f"this needs {', '.join(missing)}, which is not installed"
        raise XgenError("xgen", what, f'pip install "xgen[{extra}]"')
