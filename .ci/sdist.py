"""Checks that an sdist holds every file of the repository and nothing else: `python .ci/sdist.py dist/netc-*.tar.gz`.

If they differ, it says how, and the exit status is 1.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
GENERATED = ("PKG-INFO", "setup.cfg", "netc.egg-info/")  # which setuptools adds


def main(archive: Path) -> int:
    """The number of files that are missing or too many; each is printed."""
    with tarfile.open(archive) as opened:
        names = (member.name.partition("/")[2] for member in opened.getmembers() if not member.isdir())
        packed = {name for name in names if not name.startswith(GENERATED)}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        print(f"{archive.name} holds {len(packed)} files; there is no repository to compare them with: {listed.stderr}")
        return 0
    tracked = {name for name in listed.stdout.split("\0") if name}
    for name in sorted(tracked - packed):
        print(f"{archive.name} lacks {name}")
    for name in sorted(packed - tracked):
        print(f"{archive.name} holds {name}, which the repository does not")
    if not tracked ^ packed:
        print(f"{archive.name} holds the {len(packed)} files of the repository")
    return len(tracked ^ packed)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
