"""Run libmemcached's memccapable against the reference server; every test must pass, binary and text."""

import re
import subprocess
import sys

TESTS = 27

server = subprocess.Popen([sys.executable, "-m", "memproto", "serve", "-p", "-1"], stderr=subprocess.PIPE, text=True)
try:
    assert server.stderr is not None
    port = server.stderr.readline().rpartition(":")[2].strip()
    failed = ""
    for dialect in ("-b", "-a"):
        result = subprocess.run(
            ["memccapable", "-h", "127.0.0.1", "-p", port, dialect], capture_output=True, text=True, timeout=60
        )
        passed = len(re.findall(r"\[pass\]", result.stdout))
        print(f"memccapable {dialect}: {passed} of {TESTS}")
        if passed != TESTS or result.returncode:
            failed += result.stdout + result.stderr
finally:
    server.terminate()
    code = server.wait(10)
print(f"the server's exit code is {code}")
if failed or code:
    sys.exit(failed)
