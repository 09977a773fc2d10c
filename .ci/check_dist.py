"""Check that the sdist and the wheel hold what they should and nothing else."""

import pathlib
import sys
import tarfile
import zipfile

folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
(sdist,) = folder.glob("*.tar.gz")
with zipfile.ZipFile(wheel) as archive:
    in_wheel = archive.namelist()
with tarfile.open(sdist) as archive_of_sources:
    in_sdist = archive_of_sources.getnames()
strays = [name for name in in_wheel if not (name.startswith(("memproto/", "memproto-", "_memproto_pytest.py")))]
if strays or "memproto/py.typed" not in in_wheel:
    sys.exit(f"wheel: strays {strays}, py.typed {'memproto/py.typed' in in_wheel}")
wanted = {
    "memproto",
    "_memproto_pytest.py",
    "examples",
    "tests",
    "benchmarks",
    "docs",
    ".ci",
    "noxfile.py",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
}
wanted |= {"README.md", "SECURITY.md", "LICENSE"}
files = {"pyproject.toml", "PKG-INFO", ".gitignore"}
tops = {name.split("/")[1] for name in in_sdist if "/" in name}
if not wanted <= tops or tops - wanted - files:
    sys.exit(f"sdist: missing {wanted - tops}, strays {tops - wanted - files}")
bad = [n for n in [*in_wheel, *in_sdist] if n.endswith((".pyc", ".so")) or "__pycache__" in n]
if bad:
    sys.exit(f"built files in the distributions: {bad}")
print(f"wheel: {len(in_wheel)} files; sdist: {sorted(tops)}")
