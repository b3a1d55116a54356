"""Versions of installed packages, for keys of the cache."""

import os
import sys


def version_of(package: str) -> str:
    """The version of an installed package, as the name of its folder says: `llvmlite-0.48.0.dist-info`.

    Another kind of installation is left to importlib.metadata, whose import takes as long as a small program. Raises
    PackageNotFoundError if there is none.
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith(f"{package}-") and name.endswith(".dist-info"):
                return name.removesuffix(".dist-info").removeprefix(f"{package}-")
    from importlib.metadata import version

    return version(package)
