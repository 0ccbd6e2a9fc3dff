"""Images of the lab's hosts: a base that is pulled or built from packages, and lab/Dockerfile over it."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from . import engine
from .common import ROOT, STATE, LabError, run, say
from .engine import docker

CODENAMES = {"debian12": "bookworm", "debian13": "trixie", "sid": "sid"}
DEBIAN_SUITES = {*CODENAMES.values(), "stable", "testing", "oldstable"}
GIT = "git"
NAMES = (*CODENAMES, GIT)
DOCKERFILE = ROOT / "lab" / "Dockerfile"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
MODES = ("auto", "registry", "packages")
# A mirror may be a frozen copy whose Release files have run out; documentation and translations only cost time here.
MMDEBSTRAP = (
    "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Check-Valid-Until "false"',
    '--aptopt=Acquire::Check-Date "false"',
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    '--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf; : > "$1"/etc/machine-id',
)  # fmt: skip


def mode() -> str:
    value = os.environ.get("LAB_IMAGES", "auto")
    if value not in MODES:
        raise LabError(f"LAB_IMAGES is {value!r}: use one of {', '.join(MODES)}.")
    return value


def digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest())
    return total.hexdigest()[:12]


def base_tag(distro: str) -> str:
    return f"slipway-lab/{distro}-base:{digest(mode(), distro, *MMDEBSTRAP)}"


def image_tag(name: str) -> str:
    """The name of an image holds the hash of all that goes into it, so an image that exists is the right one."""
    distro, packages = parts(name)
    certificates = [path.read_bytes() for path in sorted(CERTIFICATES.glob("*.crt"))]
    return f"slipway-lab/{name}:{digest(base_tag(distro), packages, DOCKERFILE.read_bytes(), *certificates)}"


def parts(name: str) -> tuple[str, str]:
    """(distribution, additional packages) of an image."""
    return ("debian13", "git") if name == GIT else (name, "")


def exists(tag: str) -> bool:
    return bool(docker("images", "--quiet", tag).strip())


def known(name: str) -> str:
    """The tag of an image that is already built, or ''."""
    tag = image_tag(name)
    return tag if exists(tag) else ""


def build(names: list[str]) -> None:
    """Build what is missing of these images. Bases build at the same time, two at once."""
    missing = [name for name in names if not known(name)]
    distros = list(dict.fromkeys(parts(name)[0] for name in missing))
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for job in [pool.submit(build_base, distro) for distro in distros]:
            job.result()
    for name in missing:
        build_image(name)


def build_base(distro: str) -> None:
    tag = base_tag(distro)
    if exists(tag):
        return
    started = time.monotonic()
    how = pull(distro, tag) if mode() != "packages" else ""
    how = how or bootstrap(distro, tag)
    say(f"  {distro} base: {how} in {time.monotonic() - started:.0f} s")


def pull(distro: str, tag: str) -> str:
    """Take the official image; '' when no registry has it and the mode allows another way."""
    official = f"debian:{CODENAMES[distro]}"
    there = exists(official)
    done = run(["docker", "pull", "--quiet", official], check=False, timeout=900)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if mode() == "registry":
            raise LabError(
                f"{official} could not be pulled ({said}): make the registry reachable, or set LAB_IMAGES=packages."
            )
        say(f"No registry gives {official} here: using the distribution's packages.")
        return ""
    docker("tag", official, tag)
    if not there:
        docker("rmi", official)  # only the name: the image stays under ours, which clean removes
    return f"pulled {official}"


def bootstrap(distro: str, tag: str) -> str:
    if not shutil.which("mmdebstrap"):
        if not engine.may_install():
            raise LabError(
                "No image registry is reachable, and mmdebstrap, which builds Debian images from packages, is missing: "
                "install the package mmdebstrap, or run as root with SLIPWAY_INSTALL=1."
            )
        say("Installing mmdebstrap ...")
        engine.install_packages("mmdebstrap")
    say(f"Building the base of {distro} from packages ...")
    STATE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as folder:
        tar = Path(folder) / "rootfs.tar"
        as_root = os.geteuid() == 0
        run([*MMDEBSTRAP, f"--mode={'root' if as_root else 'auto'}", CODENAMES[distro], tar, *mirror_lines(distro)])
        docker("import", "--change", "LABEL slipway.lab=image", tar, tag)
    return "built from packages"


def mirror_lines(distro: str) -> list[str]:
    """apt lines for a distribution from the mirrors that this machine itself uses."""
    sources = [(uri, suite) for uri, suite in engine.apt_sources() if not uri.startswith(("cdrom", "file"))]
    main = mirror_of(sources, "-updates") or next((uri for uri, suite in sources if suite in {"sid", "unstable"}), "")
    security = mirror_of(sources, "-security")
    if not main:
        raise LabError(
            "No image registry is reachable, and this machine's apt knows no Debian mirror to build the images from: "
            "make a registry reachable for Docker, or add a Debian mirror to apt."
        )
    code = CODENAMES[distro]
    if distro == "sid":
        return [f"deb {main} sid main"]
    lines = [f"deb {main} {code} main", f"deb {main} {code}-updates main"]
    return [*lines, f"deb {security} {code}-security main"] if security else lines


def mirror_of(sources: list[tuple[str, str]], ending: str) -> str:
    """Repositories of third parties borrow the names of Debian's suites, but not those with these endings."""
    wanted = {suite + ending for suite in DEBIAN_SUITES}
    return next((uri for uri, suite in sources if suite in wanted), "")


def build_image(name: str) -> None:
    distro, packages = parts(name)
    tag = image_tag(name)
    say(f"Building {tag} ...")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as folder:
        shutil.copy(DOCKERFILE, folder)
        for path in CERTIFICATES.glob("*.crt"):
            shutil.copy(path, folder)
        # The old builder is in every engine; the new one needs a plug-in of the client that may be missing.
        buildkit = run(["docker", "buildx", "version"], check=False).returncode == 0
        run(
            ["docker", "build", "--quiet", "--label", "slipway.lab=image", "--tag", tag,
             "--build-arg", f"BASE={base_tag(distro)}", "--build-arg", f"PACKAGES={packages}", folder],
            env={"DOCKER_BUILDKIT": "1" if buildkit else "0"},
        )  # fmt: skip
    say(f"  {name}: built in {time.monotonic() - started:.0f} s")


def remove_all() -> None:
    """Remove every image of the lab that no container uses."""
    tags = docker("images", "--filter", "reference=slipway-lab/*", "--format", "{{.Repository}}:{{.Tag}}").split()
    # Derived images first, or their bases are still in use.
    for tag in sorted(tags, key=lambda tag: "-base:" in tag):
        done = run(["docker", "rmi", tag], check=False)
        say(f"Removed image {tag}" if done.returncode == 0 else f"Kept image {tag}: something still uses it.")


def sizes() -> list[dict[str, str]]:
    out = docker("images", "--filter", "reference=slipway-lab/*", "--format", "{{json .}}")
    return [json.loads(line) for line in out.splitlines()]
