"""Print a command of the README's quick start: ``demo`` is the first, ``test`` the second."""

import pathlib
import re
import sys

commands = re.findall(r"^```sh\n(.*?)^```", pathlib.Path("README.md").read_text(encoding="utf-8"), re.M | re.S)
if len(commands) != 2:
    sys.exit(f"the README has {len(commands)} sh blocks, expected the two commands of the quick start")
print(commands[("demo", "test").index(sys.argv[1])].strip())
