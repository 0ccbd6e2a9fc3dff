"""Command line of lab/lab."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys

from . import engine, hosts, images, local
from .common import STATE, LabError, lock, say


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="lab/lab",
        description="Real hosts in Docker for the demo and the tests.",
        epilog="Variables: LAB_IMAGES=auto|registry|packages (where base images come from), "
        "LAB_DISTRO=debian12|debian13|sid (the demo's host), LAB_HTTP_PORT (its port on this machine), "
        "SLIPWAY_INSTALL=1 (root only: the Docker Engine may be installed and started).",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="name everything that keeps the lab from working, with its remedy")
    commands.add_parser("engine", help="make the Docker Engine answer; installs and starts it only when allowed")
    build = commands.add_parser("images", help="build what is missing of the images")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(images.NAMES)} (all)")
    commands.add_parser("up", help="start the demo's hosts and write .lab/ssh_config")
    commands.add_parser("down", help="remove the hosts and their network")
    commands.add_parser("list", help="show hosts and images")
    clean = commands.add_parser("clean", help="down, and remove .lab with its keys")
    clean.add_argument("--images", action="store_true", help="remove the lab's images too")
    commands.add_parser("env", help="print what Molecule needs as KEY=value lines; only images that are built")
    seed = commands.add_parser("seed-git", help="serve the sample application's repository from a running container")
    seed.add_argument("container", metavar="CONTAINER")
    seed.add_argument("--name", help="host name that clients use (the container's name)")
    return top


def entry(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.command == "doctor":
        return doctor()
    if args.command == "engine":
        with lock():
            engine.ensure()
        return 0
    engine.require()
    if args.command == "list":
        show()
    elif args.command == "env":
        print_env()
    else:
        with lock():
            change(args)
    return 0


def change(args: argparse.Namespace) -> None:
    if args.command == "images":
        if unknown := [name for name in args.names if name not in images.NAMES]:
            raise LabError(f"No image is called {unknown[0]!r}: there are {', '.join(images.NAMES)}.")
        names = args.names or list(images.NAMES)
        images.build(names)
        for name in names:
            say(f"Image {images.image_tag(name)} is there.")
    elif args.command == "up":
        engine.raise_inotify()
        hosts.up()
    elif args.command == "down":
        hosts.down()
    elif args.command == "seed-git":
        if not hosts.inspect(args.container):
            raise LabError(f"There is no container {args.container}: docker ps shows those that run.")
        with contextlib.redirect_stdout(sys.stderr):
            line = hosts.seed_git(args.container, args.name or args.container)
        print(line)
    elif args.command == "clean":
        clean(with_images=args.images)


def clean(*, with_images: bool) -> None:
    hosts.down()
    if with_images:
        images.remove_all()
    engine.stop_own()
    shutil.rmtree(STATE, ignore_errors=True)


def doctor() -> int:
    problems = engine.doctor()
    for problem in problems:
        say(problem)
    if not problems:
        say("Everything the lab needs is here.")
    return 1 if problems else 0


def show() -> None:
    for row in hosts.listing() or ["No host of this checkout."]:
        say(row)
    for image in images.sizes():
        say(f"{image['Repository']}:{image['Tag']}\t{image['Size']}")


def print_env() -> None:
    for name in images.NAMES:
        if tag := images.known(name):
            print(f"SLIPWAY_{name.upper()}_IMAGE={tag}")
    print(f"SLIPWAY_CGROUP={engine.cgroup_mount()}")


def local_entry(argv: list[str]) -> int:
    """Command line of lab/local."""
    top = argparse.ArgumentParser(prog="lab/local", description="The embedded site of this checkout, in .demo.")
    top.add_argument("command", choices=["prepare", "start", "stop", "status", "clean"])
    command = top.parse_args(argv).command
    if command == "status":
        return local.status()
    with lock():
        {"prepare": local.prepare, "start": local.start, "stop": local.stop, "clean": local.clean}[command]()
    return 0
