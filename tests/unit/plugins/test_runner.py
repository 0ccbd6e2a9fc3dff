from __future__ import annotations

import pytest
from ansible_collections.slipway.laravel.plugins.module_utils._runner import both_ends, build_error_text

# As the programs print them: npm 11, Yarn 1 and 4, pnpm 9, Vite 5, Composer 2.
NPM_LOCK = """\
npm warn deprecated inflight@1.0.6: This module leaks memory, which is an error.
npm error code EUSAGE
npm error
npm error `npm ci` can only install packages when your package.json and package-lock.json are in sync.
npm error
npm error Missing: b@1.0.0 from lock file
npm error Missing: b@1.0.0 from lock file
npm error
npm error Clean install a project
npm error
npm error Usage:
npm error npm ci
npm error
npm error Run "npm help ci" for more info
npm error A complete log of this run can be found in: /home/deploy/.npm/_logs/debug-0.log
"""
NPM_NETWORK = """\
npm ERR! code ECONNREFUSED
npm ERR! syscall connect
npm ERR! errno ECONNREFUSED
npm ERR! FetchError: request to http://127.0.0.1:9/ms failed, reason: connect ECONNREFUSED 127.0.0.1:9
npm ERR!     at ClientRequest.<anonymous> (/usr/lib/node_modules/npm/node_modules/minipass-fetch/lib/index.js:130:14)
npm ERR!     at process.processTicksAndRejections (node:internal/process/task_queues:83:21) {
npm ERR!   code: 'ECONNREFUSED',
npm ERR!   port: 9,
npm ERR! }
npm ERR!
npm ERR! A complete log of this run can be found in: /home/deploy/.npm/_logs/debug-0.log
"""
VITE_OUT = """\
> build
> vite build

vite v5.4.21 building for production...
transforming...
✓ 3 modules transformed.
"""
VITE = """\
x Build failed in 102ms
error during build:
Could not resolve "./missing" from "main.js"
file: /srv/main.js
    at getRollupError (file:///srv/node_modules/rollup/dist/es/shared/parseAst.js:355:41)
    at file:///srv/node_modules/rollup/dist/es/shared/node-entry.js:23573:26
"""
YARN_OUT = """\
yarn install v1.22.22
[1/4] Resolving packages...
info Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command.
"""
YARN = """\
warning package.json: No license field
error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.
"""
BERRY_OUT = """\
➤ YN0000: · Yarn 4.5.0
➤ YN0000: ┌ Post-resolution validation
➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.
➤ YN0000: └ Completed
➤ YN0000: · Failed with errors in 0s 142ms
"""
PNPM_OUT = """\
 ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date

Note that in CI environments this setting is true by default. If you still need to run install in such cases, use "x"

    Failure reason:
    specifiers in the lockfile ({"ms":"2.1.2"}) don't match specs in package.json ({"ms":"2.1.3"})
"""
NODE = """\
(node:7) ExperimentalWarning: An error may occur
[eval]:1
console.log(1);throw new Error(7)
               ^

Error: 7
    at [eval]:1:22
    at runScript (node:internal/process/execution:101:62)
"""
TYPES_OUT = """\
> vue-tsc && vite build

resources/js/app.ts(3,5): error TS2304: Cannot find name 'x'.
Found 1 error in http-errors.ts
"""
COMPOSER_LOCK = """\
Installing dependencies from lock file
Verifying lock file contents can be installed on current platform.
Warning: The lock file is not up to date with the latest changes in composer.json.
- Required package "psr/log" is not present in the lock file.
This usually happens when composer files are incorrectly merged or the composer.json file is manually edited.
Read more about correctly resolving merge conflicts https://getcomposer.org/doc/articles/resolving-merge-conflicts.md
and prefer using the "require" command over editing the composer.json file directly https://getcomposer.org/doc/x.md
"""
COMPOSER_PLATFORM = """\
Installing dependencies from lock file
Your lock file does not contain a compatible set of packages. Please run composer update.

  Problem 1
    - Root composer.json requires PHP extension ext-redis * but it is missing from your system.

To enable extensions, verify that they are enabled in your .ini files:
    - /etc/php/8.4/cli/php.ini
"""
COMPOSER_SCRIPT = """\
Generating optimized autoload files
> @php artisan package:discover --ansi
Script @php artisan package:discover --ansi handling the post-autoload-dump event returned with error code 1
"""


@pytest.mark.parametrize(
    "stdout, stderr, text",
    [
        (
            "",
            NPM_LOCK,
            "`npm ci` can only install packages when your package.json and package-lock.json are in sync.; "
            "Missing: b@1.0.0 from lock file",
        ),
        (
            "",
            NPM_NETWORK,
            "FetchError: request to http://127.0.0.1:9/ms failed, reason: connect ECONNREFUSED 127.0.0.1:9",
        ),
        (VITE_OUT, VITE, 'x Build failed in 102ms; error during build:; Could not resolve "./missing" from "main.js"'),
        (VITE_OUT, "warning slow\nsass: old", "sass: old; transforming...; ✓ 3 modules transformed."),
        (YARN_OUT, YARN, "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`."),
        (
            BERRY_OUT,
            "",
            "The lockfile would have been modified by this install, which is explicitly forbidden.",
        ),
        (
            PNPM_OUT,
            "",
            'ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to '
            'date; Failure reason:; specifiers in the lockfile ({"ms":"2.1.2"}) don\'t match specs in package.json '
            '({"ms":"2.1.3"})',
        ),
        ("1", NODE, "Error: 7"),
        (
            TYPES_OUT,
            "",
            "resources/js/app.ts(3,5): error TS2304: Cannot find name 'x'.; Found 1 error in http-errors.ts",
        ),
        (
            "",
            COMPOSER_LOCK,
            '- Required package "psr/log" is not present in the lock file.; This usually happens when composer files '
            "are incorrectly merged or the composer.json file is manually edited.; Read more about",
        ),
        (
            "",
            COMPOSER_PLATFORM,
            "Your lock file does not contain a compatible set of packages. Please run composer update.; Problem 1; "
            "- Root composer.json requires PHP extension ext-redis * but it is missing from your system.",
        ),
        (
            "\nIn ProviderRepository.php line 206:\n\n  Class X not found\n",
            COMPOSER_SCRIPT,
            "In ProviderRepository.php line 206: Class X not found",
        ),
        (
            "not today",
            COMPOSER_SCRIPT,
            "Generating optimized autoload files; > @php artisan package:discover --ansi; not today",
        ),
        ("", "npm error code 1\n", "npm error code 1"),
        ("", "", "it printed nothing"),
    ],
)
def test_build_error_text(stdout, stderr, text):
    assert build_error_text(stdout, stderr).startswith(text)


def test_long_text_keeps_both_ends():
    assert both_ends("short") == "short"
    assert both_ends("reason" + "x" * 9000 + "end", 20) == "reasonxxxx\n…\nxxxxxxxend"
