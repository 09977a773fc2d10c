"""Run libmemcached's memccapable against the example server; every test must pass."""

import re
import subprocess
import sys

TESTS = 27

server = subprocess.Popen([sys.executable, "-m", "examples.server", "-p", "-1"], stderr=subprocess.PIPE, text=True)
try:
    assert server.stderr is not None
    port = server.stderr.readline().rpartition(":")[2].strip()
    result = subprocess.run(
        ["memccapable", "-h", "127.0.0.1", "-p", port, "-b"], capture_output=True, text=True, timeout=60
    )
finally:
    server.terminate()
    code = server.wait(10)
passed = len(re.findall(r"\[pass\]", result.stdout))
print(f"memccapable -b: {passed} of {TESTS}; server's exit code {code}")
if passed != TESTS or result.returncode or code:
    sys.exit(result.stdout + result.stderr)
