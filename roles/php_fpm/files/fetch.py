# Prints the OpenPGP key file at a URL, ASCII-armoured.
import base64
import sys
import textwrap
import urllib.request

request = urllib.request.Request(sys.argv[1], headers={"User-Agent": "slipway"})  # noqa: S310  # file: serves a mirror on the host
with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
    data = answer.read()
if data.startswith(b"-----BEGIN"):
    sys.stdout.write(data.decode())
else:
    print("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    print("\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64)))
    print("-----END PGP PUBLIC KEY BLOCK-----")
