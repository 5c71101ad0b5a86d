"""Files that are whole or not there, command lines, several processes."""

import sys
from pathlib import Path

# its modules have plain names: a package `config` in somebody's working folder must not stand before them
_PROJECT = str(Path(__file__).resolve().parent.parent)
if sys.path[:1] != [_PROJECT]:
    sys.path.insert(0, _PROJECT)
