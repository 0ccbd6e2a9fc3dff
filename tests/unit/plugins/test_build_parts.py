"""What a build uses again, and that the artifact is the same byte for byte whether it does or not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tarfile

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils import _parts, _ssr


@pytest.fixture
def build(run_module, home, repository):
    root = home / "app"

    def run(version="work", **args):
        code, result = run_module(
            "release_build", **{"root": str(root), "repository": repository, "version": version, **args}
        )
        assert code == 0, result["msg"]
        # Where Ansible takes the test for a controller, warnings are printed.
        run.warnings = json.dumps(result.get("warnings")) + " ".join(run_module.stderr.split())
        return result

    return run


@pytest.fixture
def commit(git, home):
    """Commit files: commit({name: text or JSON})."""

    def run(files):
        for name, text in files.items():
            path = home / "origin" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if isinstance(text, str) else json.dumps(text))
        git("add", "--all")
        git("commit", "--quiet", "--message", "More work")

    return run


def calls(home):
    text = (home / "calls").read_text()
    (home / "calls").write_text("")
    return text


def names(result):
    with tarfile.open(result["artifact"]) as archive:
        return archive.getnames()


def text(result, name):
    with tarfile.open(result["artifact"]) as archive:
        return archive.extractfile(f"./{name}").read().decode()


def test_php_that_changes_leaves_packages_and_assets_as_they_are(build, commit, home):
    first = build()
    assert (first["reused"], calls(home).count("install")) == ([], 1)
    commit({"app/Models/Shop.php": "<?php // new"})
    result = build(force=True)
    assert result["reused"] == ["assets", "vendor"]
    called = calls(home)
    assert "composer dump-autoload --no-dev --optimize" in called
    assert "composer install" not in called
    assert "npm ci" not in called
    assert "npm run" not in called
    # The application's classes are others, so the autoloader is made anew.
    assert "Models" in text(result, "vendor/autoload.php")
    for part in ("vendor", "assets"):
        assert result["parts"][part] == {**first["parts"][part], "reused": True}
    assert build(reuse=False)["sha256"] == result["sha256"] != first["sha256"]
    assert "composer install" in calls(home)


def test_without_reuse_nothing_is_kept(build, home):
    result = build(reuse=False)
    assert (result["reused"], result["parts"]) == ([], {})
    assert not (home / "app/.slipway/cache").exists()


@pytest.mark.parametrize(
    "files, reused",
    [
        ({"composer.lock": {"packages": []}}, []),
        ({"composer.json": {"name": "acme/shop"}}, []),
        ({"resources/app.js": "changed"}, ["node_modules", "vendor"]),
        ({"vite.config.js": "changed"}, ["node_modules", "vendor"]),
        ({"public/logo.svg": "changed"}, ["node_modules", "vendor"]),
        ({"package-lock.json": {"packages": {}}}, ["vendor"]),
        ({".npmrc": "engine-strict=true"}, ["vendor"]),
    ],
)
def test_what_was_made_from_other_inputs_is_made_anew(build, commit, files, reused):
    build()
    commit(files)
    result = build()
    # The front end may read packages of Composer.
    assert result["reused"] == (reused or ["node_modules"])
    assert result["sha256"] == build(reuse=False)["sha256"]


@pytest.mark.parametrize("name", ["NODE_ENV", "VITE_PUSHER_APP_KEY", "KEYCLOAK_URL", "X_TOKEN"])
def test_variables_are_inputs(build, name):
    build(environment={name: "one"})
    assert build(environment={name: "two"})["reused"] == ["vendor"]
    assert build(environment={name: "two"})["reused"] == ["assets", "vendor"]


def test_logins_of_composer_are_no_inputs(build):
    build(environment={"COMPOSER_AUTH": "one"})
    assert build(environment={"COMPOSER_AUTH": "two"})["reused"] == ["assets", "vendor"]


def test_inputs_do_not_give_short_secrets_away(build, home):
    first = build(environment={"X_TOKEN": "1"})
    cache = home / "app/.slipway/cache"
    assert (cache / "key").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(cache)
    second = build(environment={"X_TOKEN": "1"})
    assert first["parts"]["assets"]["inputs"] != second["parts"]["assets"]["inputs"]
    assert first["sha256"] == second["sha256"]


def test_values_of_the_environment_are_inputs_of_the_assets(build, commit, home):
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("mkdir -p public/build", 'mkdir -p public; echo "$VITE_KEY" > public/key'))
    npm.write_text(npm.read_text().replace('> "public/build/', '> "public/'))
    env = home / "app/shared/.env"
    env.parent.mkdir(parents=True)
    env.write_text("VITE_KEY=one\nDB_PASSWORD=one\n")
    # Read at once: builds of one second have one name.
    first = text(build(), "public/key")
    env.write_text("VITE_KEY=one\nDB_PASSWORD=two\n")
    assert build()["reused"] == ["assets", "vendor"]
    env.write_text("VITE_KEY=two\nDB_PASSWORD=two\n")
    second = build()
    assert (second["reused"], first, text(second, "public/key")) == (
        ["node_modules", "vendor"],
        "one\n",
        "two\n",
    )
    assert build(reuse=False)["sha256"] == second["sha256"]


@pytest.mark.parametrize("name", ["vendor", "node_modules"])
def test_packages_in_the_commit_are_not_mixed_with_those_of_another(build, commit, name):
    for content in ("old", "new"):
        commit({f"{name}/acme/own.txt": content})
        result = build()
        assert (name in result["reused"], result["parts"][name]["reason"]) == (
            False,
            f"the commit has files in {name}",
        )
    if name == "vendor":
        assert text(result, "vendor/acme/own.txt") == "new"


@pytest.mark.parametrize("program, part", [("composer", "vendor"), ("node", "node_modules"), ("npm", "node_modules")])
def test_other_versions_of_the_programs_are_other_inputs(build, home, program, part):
    before = build()["parts"][part]["inputs"]
    path = home / "bin" / program
    path.write_text(path.read_text().replace("8.4.1", "8.4.2").replace("v20", "v22").replace("10.2.3", "10.3.0"))
    result = build()
    assert part not in result["reused"]
    assert result["parts"][part]["inputs"] != before


@pytest.fixture
def tree(tmp_path):
    """Write files into a directory and return it: tree({name: text or JSON})."""

    def run(files):
        for name, content in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(tmp_path / "tree")

    return run


def test_why_a_part_is_made_anew(build, commit):
    scripts = {"build": "x", "postinstall": "patch-package"}
    commit({"composer.json": {"config": {"vendor-dir": "lib"}}, "package.json": {"scripts": scripts}})
    build()
    result = build()
    assert result["reused"] == []
    assert result["phases"][0]["parts"] == {
        "vendor": {"reused": False, "reason": "composer.json sets vendor-dir"},
        "node_modules": {"reused": False, "reason": "package.json has the script postinstall"},
        "assets": {"reused": False, "reason": "its packages are installed anew"},
    }


@pytest.mark.parametrize(
    "manifest, package, reason",
    [
        ({"scripts": {"post-install-cmd": "x"}}, None, "composer.json has the script post-install-cmd"),
        ({"config": {"vendor-dir": "lib"}}, None, "composer.json sets vendor-dir"),
        ({"config": {"bin-dir": "bin"}}, None, "composer.json sets bin-dir"),
        ({}, {"name": "a/b", "type": "composer-plugin"}, "a/b is a plugin of Composer"),
        (
            {"config": {"allow-plugins": True}},
            {"name": "a/b", "type": "composer-plugin"},
            "a/b is a plugin of Composer",
        ),
        ({}, {"name": "a/b", "dist": {"type": "path", "reference": "1"}}, "a/b comes from a path"),
        ({}, {"name": "a/b", "dist": {"type": "zip"}}, "composer.lock pins no reference of a/b"),
    ],
)
def test_packages_of_composer_that_are_not_certain(tree, manifest, package, reason):
    app = tree({"composer.json": manifest, "composer.lock": {"packages": [package] if package else []}})
    with pytest.raises(_parts.Unproven, match=reason):
        _parts.vendor_inputs(app, {})


@pytest.mark.parametrize(
    "manifest, package",
    [
        ({"scripts": {"post-autoload-dump": "x", "post-update-cmd": "x", "dev": "x"}}, {"type": "metapackage"}),
        ({}, {"name": "php-http/discovery", "type": "composer-plugin", "dist": {"reference": "1"}}),
        (
            {"config": {"allow-plugins": {"a/b": False}}},
            {"name": "a/b", "type": "composer-plugin", "source": {"reference": "1"}},
        ),
    ],
)
def test_packages_of_composer_that_are_certain(tree, manifest, package):
    app = tree({"composer.json": manifest, "composer.lock": {"packages": [package]}})
    inputs = _parts.vendor_inputs(app, {"COMPOSER_ROOT_VERSION": "1.0", "HOME": "/root"})
    assert inputs["environment"] == {"COMPOSER_ROOT_VERSION": "1.0"}


@pytest.mark.parametrize(
    "files, reason",
    [
        ({"package.json": {"scripts": {"postinstall": "x"}}}, "package.json has the script postinstall"),
        ({"package.json": {"workspaces": ["packages/*"]}}, "the package has workspaces"),
        ({"pnpm-workspace.yaml": "packages:\n  - ui\n"}, "the package has workspaces"),
        ({"binding.gyp": "{}"}, "binding.gyp is compiled"),
        (
            {"package.json": {"dependencies": {"ui": "file:../ui"}}},
            "package.json names packages that come from the tree",
        ),
        (
            {"package.json": {"pnpm": {"patchedDependencies": {}}}},
            "package.json names packages that come from the tree",
        ),
        ({"package-lock.json": {"packages": {"ui": {"link": True}}}}, "package-lock.json names packages that come"),
    ],
)
def test_packages_of_node_that_are_not_certain(tree, files, reason):
    app = tree({"package.json": {}, "package-lock.json": {}, **files})
    with pytest.raises(_parts.Unproven, match=reason):
        _parts.modules_inputs(app, "package-lock.json", {})


@pytest.mark.parametrize(
    "line, from_the_tree",
    [
        ('"shop@workspace:."', False),
        ('"ui@workspace:packages/ui"', True),
        ('"typescript@patch:typescript@npm%3A^5#optional!builtin<compat/typescript>"', False),
        ('"left@patch:left@npm%3A1#~/.yarn/patches/left.patch"', True),
        ("ui@file:../ui:", True),
        ("      version: link:../ui", True),
        ('"resolved": "https://packages.example.com/a.tgz"', False),
    ],
)
def test_lines_of_locks(tree, line, from_the_tree):
    app = tree({"package.json": {}, "yarn.lock": line})
    with pytest.raises(_parts.Unproven) if from_the_tree else contextlib.nullcontext():
        _parts.modules_inputs(app, "yarn.lock", {})


VITE = "vite.config.js"


@pytest.mark.parametrize(
    "files, reads_php",
    [
        ({"package-lock.json": '{"packages": {"node_modules/@tailwindcss/oxide": {}}}'}, True),
        ({"package.json": {"scripts": {"build": "php artisan ziggy:generate && vite build"}}}, True),
        ({"package.json": {"devDependencies": {"@laravel/vite-plugin-wayfinder": "1"}}}, True),
        ({"package.json": {"devDependencies": {"laravel-vite-plugin": "1", "@laravel/echo-vue": "2"}}}, False),
        ({"package.json": {"scripts": {"build": "node build.mjs app/"}}}, True),
        ({VITE: "refresh: ['app/**']"}, True),
        ({VITE: "input: '/app/x.js'"}, True),
        ({VITE: "// app/Assets.php reads the manifest"}, False),
        ({VITE: "content: ['./**/*.php']"}, True),
        ({VITE: "content: ['*.php']"}, True),
        ({VITE: "exec('php x')"}, True),
        ({VITE: "input: ['resources/js/app.js', 'resources/css/app.css'], name: 'tests.js'"}, False),
        ({VITE: "content: ['./resources/**/*.blade.php', './storage/framework/views/*.php']"}, False),
        ({"resources/js/ssr.ts": "import x from '../../config/x.json'"}, True),
        ({"resources/css/app.css": "@source '../app/View/';"}, True),
        ({"resources/js/deep/a.vue": "import x from './config/x'"}, False),
        ({"resources/css/filament/tailwind.config.js": "content: ['./app/Filament/**/*.php']"}, True),
        ({"resources/css/filament/tailwind.config.js": "content: ['app/Filament/**']"}, True),
        ({"resources/css/filament/tailwind.config.js": "content: ['./{app,resources}/**/*.php']"}, True),
        ({"tailwind.config.js": "content: ['./{resources,app}/**/*.php']"}, True),
        ({"resources/css/filament/tailwind.config.js": "content: ['./resources/**/*.php']"}, False),
        ({"theme/tailwind.config.js": "content: ['./app/View/Shop.php']"}, True),
        ({"public/js/old.js": "'./app/View/Shop.php'"}, False),
        ({"package.json": {"scripts": {"build": "sh bin/build.sh > /dev/null"}}, "bin/build.sh": "php x\n"}, True),
        ({"package.json": {"scripts": {"build": "sh bin/build.sh > /dev/null"}}, "bin/build.sh": "vite\n"}, False),
        ({"package.json": {"scripts": {"clean": "rm -rf package.json/x \0 " + "x" * 300}}}, False),
        ({"package.json": {"scripts": {"prebuild": "composer run types"}}}, True),
        ({"composer.json": {"scripts": {"post-autoload-dump": "@php artisan ziggy:generate"}}}, True),
        ({"composer.json": {"scripts": {"post-install-cmd": ["@types"]}}}, True),
        ({"composer.json": {"scripts": {"post-autoload-dump": ["App\\ComposerScripts::postAutoloadDump"]}}}, True),
        (
            {
                "composer.json": {
                    "scripts": {
                        "post-autoload-dump": [
                            "Illuminate\\Foundation\\ComposerScripts::postAutoloadDump",
                            "@php artisan package:discover --ansi",
                            "@php artisan filament:upgrade",
                        ],
                        "post-update-cmd": ["@php artisan vendor:publish --tag=laravel-assets --ansi --force"],
                        "post-root-package-install": [
                            "@php -r \"file_exists('.env') || copy('.env.example', '.env');\""
                        ],
                        "post-create-project-cmd": ["@php artisan key:generate --ansi", "@php artisan migrate"],
                        "setup": ["composer install", "npm run build"],
                        "dev": ["Composer\\Config::disableProcessTimeout", "npx concurrently 'php artisan serve'"],
                        "test": ["@php artisan config:clear --ansi", "@php artisan test"],
                        "pre-package-uninstall": ["Illuminate\\Foundation\\ComposerScripts::prePackageUninstall"],
                    }
                }
            },
            False,
        ),
    ],
)
def test_php_is_an_input_of_the_assets_only_where_something_reads_it(tree, files, reads_php):
    app = tree({"package.json": {}, "package-lock.json": {}, **files})
    entries = dict.fromkeys((*os.listdir(app), "app", "artisan", "composer.lock", "lang"), "known")
    kept = _parts.without_php(app, entries, "package-lock.json")
    assert {"composer.lock", "lang", "package.json"} <= kept.keys()
    assert ("app" in kept, "artisan" in kept) == (reads_php, reads_php)


def test_php_that_something_reads_is_an_input(build, commit):
    commit({VITE: "refresh: ['app/**']"})
    build()
    commit({"app/Models/Shop.php": "<?php // new"})
    assert build()["reused"] == ["node_modules", "vendor"]


def test_what_the_build_removes_is_not_kept(build, commit, home):
    commit({"public/build/old.js": "old"})
    npm = home / "bin/npm"
    npm.write_text(npm.read_text().replace("run)", "run) rm public/build/old.js;"))
    build()
    result = build()
    assert "assets" not in result["reused"]
    assert result["parts"]["assets"]["reason"] == "build removes files of the commit"


def test_what_the_build_writes_over_and_empty_directories_are_kept(build, commit, home):
    commit({"public/build/old.js": "old"})
    npm = home / "bin/npm"
    npm.write_text(
        npm.read_text().replace("run)", "run) mkdir -p public/empty public/build; echo new > public/build/old.js;")
    )
    first = build()
    second = build()
    assert "assets" in second["reused"]
    assert (second["sha256"], text(second, "public/build/old.js")) == (first["sha256"], "new\n")
    assert "./public/empty" in names(second)


def test_another_script_makes_other_assets(build, commit):
    commit({"package.json": {"scripts": {"build": "x", "staging": "y"}}})
    build()
    assert build(npm_script="staging")["reused"] == ["node_modules", "vendor"]


def test_damaged_part_is_made_anew(build, home):
    first = build()
    for path in (home / "app/.slipway/cache").glob("vendor-*"):
        path.write_bytes(path.read_bytes() + b"x")
    result = build()
    assert result["reused"] == ["assets"]
    assert "is damaged" in build.warnings
    assert result["sha256"] == first["sha256"]
    assert build()["reused"] == ["assets", "vendor"]


def test_parts_that_cannot_be_kept_do_not_stop_the_build(build, home):
    tar = shutil.which("tar")
    (home / "bin/tar").write_text(f'#!/bin/sh\ncase "$*" in *--null*) echo full >&2; exit 2 ;; esac\nexec {tar} "$@"\n')
    (home / "bin/tar").chmod(0o755)
    build()
    for part in ("vendor", "node_modules", "assets"):
        assert f"{part} cannot be kept for the next build: full" in build.warnings
    assert build()["reused"] == []


def test_the_parts_used_last_are_kept(build, commit, home):
    cache = home / "app/.slipway/cache"
    build()
    (first,) = cache.glob("vendor-*")
    for number in range(3):
        os.utime(first, (number, number))
        commit({"composer.lock": {"packages": [], "number": number}})
        build()
        if number == 1:
            # Used again, it is the newest.
            build("v1.1.0")
            assert first.stat().st_mtime > 1000
    assert len(list(cache.glob("vendor-*"))) == 3
    assert not first.exists()
    assert len(list(cache.glob("node_modules-*"))) == 1
    assert cache.stat().st_mode & 0o777 == 0o700


# Compressed copies


@pytest.fixture
def big(commit, home):
    """A front end that makes a text of 1 KiB, one that is smaller, an image, and one that has its copy."""
    commit({"public/committed.js": "x" * 2000, "resources/app.js": "x" * 1024})
    npm = (home / "bin/npm").read_text()
    made = "mkdir -p ../../bootstrap/ssr; cp app-*.js ../../bootstrap/ssr/ssr.js; "
    made += "echo small > s.js; cp app-*.js image.png; cp app-*.js given.css; echo given > given.css.gz"
    (home / "bin/npm").write_text(f"{npm}\n[ $1 != run ] || (cd public/build; {made})\n")
    (home / "bin/brotli").write_text('#!/bin/sh\nshift 4\nfor name in "$@"; do echo brotli > "$name.br"; done\n')
    (home / "bin/brotli").chmod(0o755)


def test_built_texts_have_compressed_copies(build, big):
    first = build()
    compressed = sorted(name.replace("./public/build/", "") for name in names(first) if name.endswith((".gz", ".br")))
    assert [name.partition("-")[0] + name[-6:] for name in compressed if name.startswith("app")] == [
        "app.js.br",
        "app.js.gz",
    ]
    assert [name for name in compressed if not name.startswith("app")] == ["given.css.br", "given.css.gz"]
    assert text(first, "public/build/given.css.gz") == "given\n"
    second = build()
    assert "assets" in second["reused"]
    assert first["sha256"] == second["sha256"] == build(reuse=False)["sha256"]


def test_compressed_copies_without_brotli(build, big, monkeypatch):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "brotli" else real(name, path=path))
    assert [name for name in names(build()) if name.endswith(".br")] == []


def test_no_compressed_copies(build, big):
    build()
    result = build(precompress=False)
    assert [name for name in names(result) if name.endswith((".gz", ".br"))] == ["./public/build/given.css.gz"]
    assert result["reused"] == ["node_modules", "vendor"]


# Rendering on the server

BUNDLE = "import{h as i}from'vue';import './chunk.js';import 'node:fs';import path from \"path\";\n"


@pytest.fixture
def ssr(home):
    """Let npm install the package vue, and build a bundle of this text: ssr(text, words of a shell)."""
    program = (home / "bin/npm").read_text()

    def be(text, also="true"):
        (home / "bundle").write_text(text)
        installed = "mkdir -p node_modules/vue/lib node_modules/.bin && echo vue > node_modules/vue/lib/vue.js"
        linked = "ln -s ../vue/lib/vue.js node_modules/.bin/vue; ln -s /srv/ui node_modules/ui"
        made = f"mkdir -p bootstrap/ssr node_modules/.vite; cp {home}/bundle bootstrap/ssr/ssr.js; date +%N > $d"
        cases = f"run) d=node_modules/.vite/deps; {made}; {also} ;;\n ci) {installed}; {linked} ;;"
        (home / "bin/npm").write_text(f"{program}\ncase $1 in {cases}\nesac\n")

    return be


def of_packages(result):
    return [name for name in names(result) if name.startswith("./node_modules")]


def test_packages_that_the_server_bundle_imports_are_released(build, ssr, commit, warned):
    commit({".gitignore": "/bootstrap/ssr\n/node_modules\n"})
    ssr(BUNDLE)
    first = build()
    assert "./bootstrap/ssr/ssr.js" in names(first)
    # Neither links that lead out, nor what tools left for their next run.
    assert of_packages(first) == [
        "./node_modules",
        "./node_modules/.bin",
        "./node_modules/.bin/vue",
        "./node_modules/tool",
        "./node_modules/vue",
        "./node_modules/vue/lib",
        "./node_modules/vue/lib/vue.js",
    ]
    told = (
        "bootstrap/ssr/ssr.js imports vue, so that the release keeps all of node_modules for inertia:start-ssr, 0.0 MiB"
    )
    assert f"{told}; set ssr: {{ noExternal: true }} in vite.config" in warned[0]
    commit({"app/Models/Shop.php": "<?php // new"})
    changed = build()
    assert changed["reused"] == ["assets", "node_modules", "vendor"]
    assert of_packages(changed) == of_packages(first)
    again = build()
    assert changed["sha256"] == again["sha256"] == build(reuse=False)["sha256"]


@pytest.mark.parametrize("bundle", ["import './chunk.js'; import 'node:fs'", "require('bufferutil')"])
def test_server_bundle_that_has_everything_is_released_alone(build, ssr, bundle, warned):
    ssr(bundle)
    for _again in range(2):
        result = build()
        assert "./bootstrap/ssr/ssr.js" in names(result)
        assert (of_packages(result), warned) == ([], [])
    assert "assets" in result["reused"]


def test_server_bundle_whose_packages_are_elsewhere(build, ssr, warned):
    ssr("import { h } from 'vue'; import ui from 'ui'")
    assert of_packages(build()) == []
    told = (
        "bootstrap/ssr/ssr.js imports ui, and node_modules of the application lacks it, so that inertia:start-ssr will"
    )
    assert [told in text for text in warned] == [True]


def test_packages_that_the_build_changes_are_not_put_to_its_assets_from_elsewhere(build, ssr):
    ssr(BUNDLE, "echo patched > node_modules/vue/lib/vue.js")
    build()
    result = build()
    assert "assets" not in result["reused"]
    assert result["parts"]["assets"]["reason"] == "build writes into node_modules"
    assert text(result, "node_modules/vue/lib/vue.js") == "patched\n"


@pytest.mark.parametrize(
    "text, needed, asked",
    [
        ('import { createSSRApp as a, h } from "vue";', ["vue"], []),
        ("import x, * as y from 'vue/server-renderer'", ["vue"], []),
        ("import {\n  a,\n  b,\n} from 'vue'\n", ["vue"], []),
        ('import"@inertiajs/vue3/server";export*from"a";export{b}from"b.js"', ["@inertiajs/vue3", "a", "b.js"], []),
        ('/* @license */import a from "a";', ["a"], []),
        ("const a = await import('a'); require('b')", [], ["a"]),
        ("const r = createRequire(d), a = await import('a'); x = {...require(`b`), c: __require(\"c\")}", [], [*"abc"]),
        ("createRequire(d); try {\n  const a = require('a');\n} catch { b = import('b') }", [], ["b"]),
        ("import(/* @vite-ignore */ 'a').then(b); import('d', {with: {}})", [], ["a", "d"]),
        ("import a from 'a'; require('a')", ["a"], []),
        ("import 'fs/promises'; import 'node:x'; import 'util'; import './a'; import '/b'; import '#c'", [], []),
        ("import 'https://a.example/b.js'; import '@/c'; import '~/d'; import 'data:text/javascript,'", [], []),
        ("import 'punycode/'", ["punycode"], []),
        ("// import('a')\n/**\n * const b = require('b')\n */\nx.require('c'); import(d); import(`e/${f}`)", [], []),
        ("throw Error(\"import x from 'a'\"); const from = 'b'; export default {\n from: 'c' }", [], []),
    ],
)
def test_what_a_server_bundle_imports(tree, text, needed, asked):
    app = tree({"bootstrap/ssr/assets/page.mjs": text, "bootstrap/ssr/page.mjs.map": "import 'x'"})
    assert [list(found) for found in _ssr.imports(app)] == [needed, asked]


@pytest.mark.parametrize(
    "config, place, found",
    [
        ("", "public/js/ssr.js", True),
        ("laravel({ssr: 'x', ssrOutputDirectory: '/storage/ssr'})", "storage/ssr/app.js", True),
        ("laravel({ssrOutputDirectory: '../ssr'})", "../ssr/app.js", False),
        ("", "public/build/app.js", False),
    ],
)
def test_where_a_server_bundle_is(tree, config, place, found):
    app = tree({"vite.config.ts": config, place: "import 'vue'"})
    assert _ssr.imports(app) == (({"vue": place} if found else {}), {})


def test_what_a_server_bundle_of_webpack_imports(tree):
    app = tree({"public/js/ssr.js": "(() => { const vue = require('vue'); try { require('ws') } catch {} })()"})
    assert _ssr.imports(app) == ({}, {"vue": "public/js/ssr.js"})


# Livewire

SHARES = "new CacheManager(\n    storage_path('framework/views/livewire')\n)"
BY_RELEASE = "return substr(md5(Str::after($sourcePath, base_path())), 0, 8);"


@pytest.mark.parametrize(
    "place, names, warns",
    [
        (SHARES, BY_RELEASE, True),
        # By the whole path each release has its own.
        (SHARES, "return substr(md5($sourcePath), 0, 8);", False),
        ("new CacheManager(rtrim(config('view.compiled'), '/').'/livewire')", BY_RELEASE, False),
        ("", "", False),
    ],
)
def test_livewire_that_takes_components_of_another_release(build, commit, home, place, names, warns, warned):
    commit({"composer.lock": {"packages": [{"name": "livewire/livewire", "version": "v4.2.4"}]}})
    source = "vendor/livewire/livewire/src"
    (home / "provider").write_text(place)
    (home / "manager").write_text(names)
    copied = (
        f"cp {home}/provider {source}/LivewireServiceProvider.php; cp {home}/manager {source}/Compiler/CacheManager.php"
    )
    composer = home / "bin/composer"
    composer.write_text(f"{composer.read_text()}\n[ $1 != install ] || (mkdir -p {source}/Compiler; {copied})\n")
    # Also where the packages are those of an earlier build.
    build()
    build()
    assert ["livewire/livewire v4.2.4 keeps compiled" in text for text in warned] == [True, True] * warns


# With the real programs


@pytest.mark.skipif(not (shutil.which("composer") and shutil.which("php")), reason="needs Composer and PHP")
def test_real_composer(build, commit, home):
    package = home / "package/src"
    package.mkdir(parents=True)
    (package / "Thing.php").write_text("<?php namespace Acme; class Thing {}\n")
    subprocess.run(["tar", "-cf", home / "thing.tar", "-C", home, "package"], check=True)
    thing = {
        "name": "acme/thing",
        "version": "1.0.0",
        "type": "library",
        "require": {"php": ">=7.4", "ext-json": "*"},
        "autoload": {"psr-4": {"Acme\\": "src/"}},
        "dist": {"type": "tar", "url": f"file://{home}/thing.tar", "reference": "1"},
    }
    manifest = {
        "name": "acme/shop",
        "require": {"acme/thing": "1.0.0"},
        "autoload": {"psr-4": {"App\\": "app/"}},
        "repositories": [{"type": "package", "package": thing}, {"packagist.org": False}],
    }
    (home / "bin/composer").unlink()
    (home / "bin/php").unlink()
    origin = home / "origin"
    (origin / "composer.json").write_text(json.dumps(manifest))
    (origin / "composer.lock").unlink()
    environment = {"COMPOSER_ALLOW_SUPERUSER": "1", "COMPOSER_HOME": str(home / "composer"), "HOME": str(home)}
    subprocess.run(
        ["composer", "update", "--no-install", "--no-interaction", "--quiet"],
        cwd=origin,
        env={**os.environ, **environment},
        check=True,
    )
    commit({"app/One.php": "<?php namespace App; class One {}\n"})
    first = build(environment=environment)
    assert build(environment=environment, reuse=False)["sha256"] == first["sha256"]
    commit({"app/Two.php": "<?php namespace App; class Two {}\n"})
    second = build(environment=environment)
    assert "vendor" in second["reused"]
    assert "'App\\\\Two' => $baseDir" in text(second, "vendor/composer/autoload_classmap.php")
    assert build(environment=environment, reuse=False)["sha256"] == second["sha256"]
    assert second["requires"]["php"] == ">=7.4.0"
    assert second["requires"]["extensions"] == ["json"]


@pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="needs npm and Node")
def test_real_npm(build, commit, home):
    (home / "bin/npm").unlink()
    (home / "bin/node").unlink()
    package = {"name": "shop", "scripts": {"build": "node build.cjs"}}
    lock = {"name": "shop", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "shop"}}}
    script = """
        const fs = require('fs');
        fs.mkdirSync('public/build', {recursive: true});
        fs.writeFileSync('public/build/app.js', 'x'.repeat(2000));
    """
    commit({"package.json": package, "package-lock.json": lock, "build.cjs": script})
    environment = {"HOME": str(home)}
    first, second = build(environment=environment), build(environment=environment)
    assert "assets" in second["reused"]
    assert "./public/build/app.js.gz" in names(second)
    assert "./node_modules" not in names(second)
    assert first["sha256"] == second["sha256"] == build(environment=environment, reuse=False)["sha256"]
