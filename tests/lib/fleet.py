"""Hosts that are directories of this machine, an application to release onto them, and a web server for all of them.

PHP, Composer and npm are played (tests/unit/plugins/fakes); git, tar, the modules and the web server are real. A host
cannot be reached while there is a file of its name in the directory "away".
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ansible_collections.slipway.laravel.plugins.plugin_utils.record import read

ROOT = Path(__file__).resolve().parents[2]
FAKES = ROOT / "tests/unit/plugins/fakes"
SECRETS = {
    "APP_KEY": "base64:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "DB_PASSWORD": "pa55-of-the-database",
    "DEPLOY_KEY": "k3y-of-the-repository",
}
HOSTS = ["web1", "web2"]

LAYOUT = """
- name: Lay out
  hosts: laravel
  gather_facts: false
  tasks:
    - name: Lay out the application
      ansible.builtin.import_role:
        name: slipway.laravel.release
        tasks_from: layout
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Fleet:
    """Two hosts with an application on them, its repository, and a controller."""

    def __init__(self, home):
        self.home = home
        self.records = home / "records/production"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))},
            "PATH": f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PIPELINING": "true",
            "SLIPWAY_RECORDS_DIR": str(home / "records"),
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        for name in ("away", "bin", "tmp"):
            (home / name).mkdir()
        for source in FAKES.iterdir():
            shutil.copy(source, home / "bin" / source.stem)
            (home / "bin" / source.stem).chmod(0o755)
        write(home / "db.sqlite", "")
        self.make_repository()
        self.serve()

    def serve(self):
        """Answer for the live release of each host: v3-is-not-well is not well on web2."""
        home = self.home

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.path.split("/")[1]
                if not host:
                    # The home page, which all hosts share here.
                    self.send_error(404)
                    return
                manifest = json.loads((home / "hosts" / host / "current/.slipway.json").read_text())
                self.send_response(500 if (host, manifest["version"]) == ("web2", "v3-is-not-well") else 200)
                self.send_header("X-Release-Id", manifest["release"])
                self.end_headers()

            def log_message(self, *_words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.write_inventory(f"http://127.0.0.1:{self.server.server_port}")

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def lay_out(self, *words):
        """Lay out the first host, and make the second one its copy."""
        run = self.play(self.home / "layout.yml", "--limit=web1", *words)
        shutil.copytree(self.home / "hosts/web1", self.home / "hosts/web2")
        return run

    def release(self, version, *words, **environment):
        return self.play(ROOT / "release.yml", "-e", f"release_version={version}", *words, **environment)

    def make_repository(self):
        origin = self.home / "origin"
        for name in ("artisan", "public/index.php", "routes/web.php"):
            write(origin / name, "<?php\n")
        for name in ("composer.json", "composer.lock"):
            write(origin / name, "{}\n")
        self.git("init", "--quiet")
        self.commit("v1", migrations=["create_notes"])
        self.commit("v2", migrations=["create_notes", "add_title"])
        self.commit("v3-is-not-well", migrations=["create_notes", "add_title", "add_colour"])
        four = ["create_notes", "add_title", "add_colour", "add_tags", "add_tags_again"]
        self.commit("v4-does-not-migrate", migrations=four, failing_migration="add_tags_again")
        write(origin / "composer-error", "Problem 1\n  - php ^9 is not satisfied | at all\n")
        self.commit("v5-does-not-build")

    def git(self, *words):
        who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", *who, *words], cwd=self.home / "origin", env=self.environment, check=True)

    def commit(self, version, **behaviour):
        write(self.home / "origin/app.json", json.dumps(behaviour))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Make {version}")
        self.git("tag", version)

    def write_inventory(self, url):
        host = {"ansible_python_interpreter": sys.executable}
        away = f"('{self.home}/away/' ~ inventory_hostname) is exists"
        variables = {
            # Nothing listens on port 1.
            "ansible_connection": f"{{{{ 'ssh' if {away} else 'local' }}}}",
            "ansible_host": "127.0.0.1",
            "ansible_port": 1,
            "laravel_become": False,
            "laravel_user": getpass.getuser(),
            "laravel_root": f"{self.home}/hosts/{{{{ inventory_hostname }}}}",
            "laravel_env": {
                **SECRETS,
                "APP_ENV": "production",
                "DB_CONNECTION": "sqlite",
                "DB_DATABASE": f"{self.home}/db.sqlite",
            },
            "release_deploy_key": SECRETS["DEPLOY_KEY"],
            "release_repository": f"{self.home}/origin",
            "release_fpm_socket": "",
            "release_http_url": f"{url}/{{{{ inventory_hostname }}}}",
            "release_owner": "ann",
            "release_timeout": 1,
        }
        inventory = {"laravel": {"hosts": dict.fromkeys(HOSTS, host), "vars": variables}}
        write(self.home / "inventories/production/hosts.json", json.dumps(inventory))
        write(self.home / "layout.yml", LAYOUT)
        (self.home / "hosts").mkdir()

    def play(self, playbook, *words, **environment):
        """Run a playbook; return what it printed, its status and the records that it added."""
        before = self.recorded()
        result = subprocess.run(
            ["ansible-playbook", playbook, "-i", self.home / "inventories/production", *words],
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        added = sorted(self.recorded() - before)
        return Run(result, added, {host: self.live(host) for host in HOSTS})

    def recorded(self):
        """The records and their reports."""
        files = [path for end in ("jsonl", "md") for path in self.records.glob(f"*.{end}")]
        return {path for path in files if path.name != "ledger.jsonl"}

    def live(self, host):
        link = self.home / "hosts" / host / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None


class Run:
    def __init__(self, result, records, live):
        self.status, self.output, self.error = result.returncode, result.stdout, result.stderr
        self.files, self.live = records, live
        self.entries = next((read(str(path)) for path in records if path.suffix == ".jsonl"), [])
        self.report = next((path.read_text() for path in records if path.suffix == ".md"), "")

    def of(self, event):
        return [entry["data"] for entry in self.entries if entry["event"] == event]

    def outcome(self):
        return self.of("outcome")[0]

    def phases(self, host):
        return [phase["phase"] for phase in self.of("phase") if phase["host"] == host]
