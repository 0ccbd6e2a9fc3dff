#!/usr/bin/env python3
"""A stand-in for pip's bootstrap script, built on the pip that Python carries.

ansible-test downloads that script from a host that some networks cannot reach. `get_pip.py --offer` puts this file
where ansible-test looks for its download first; it does so only when nothing lies there and the host does not answer.
"""

import ensurepip
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request


def offer() -> None:
    from ansible_test import _internal  # noqa: PLC0415  ansible-test runs this file where that is not installed

    def find(path: str, pattern: str) -> str:
        with open(os.path.join(os.path.dirname(_internal.__file__), path), encoding="utf-8") as source:
            return re.search(pattern, source.read()).group(1)

    version = find("python_requirements.py", r"pip='([\d.]+)'")
    url = find("../_util/target/setup/requirements.py", r"url = '(https:[^']+)'") % version
    cached = os.path.expanduser(f"~/.ansible/test/cache/get_pip_{version.replace('.', '_')}.py")
    if os.path.exists(cached):
        return
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  https by the pattern above
    except (OSError, urllib.error.URLError):
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with open(__file__, encoding="utf-8") as here, open(cached, "w", encoding="utf-8") as there:
            there.write(here.read())
        print(f"The host of pip's bootstrap script does not answer; wrote a stand-in to {cached}")


def bootstrap() -> int:
    ensurepip.bootstrap()
    # ensurepip points this at /dev/null, which would hide the machine's own index and certificates.
    os.environ.pop("PIP_CONFIG_FILE", None)
    packages = [argument for argument in sys.argv[1:] if not argument.startswith("--no-")]
    return subprocess.call([sys.executable, "-m", "pip", "install", "-q", *packages])


if __name__ == "__main__":
    sys.exit(offer() if sys.argv[1:] == ["--offer"] else bootstrap())
