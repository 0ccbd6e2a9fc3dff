# Copyright: (c) 2026, the slipway.laravel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the pages of records look: on a phone, on a desk, by night and on paper."""

from __future__ import annotations

# In the order of a release.
PHASES = {
    "preflight": "#8a8f98",
    "build": "#b7791f",
    "stage": "#3b82c4",
    "plan": "#a78bda",
    "snapshot": "#6d5bd0",
    "migrate": "#c2418f",
    "switch": "#15803d",
    "restart": "#0f9aa8",
    "verify": "#65a30d",
    "finish": "#64748b",
    "revert": "#c62828",
}
OTHER = "#6b7280"

STYLE = (
    """:root {
color-scheme: light dark;
--ground: #ffffff; --soft: #f4f5f7; --line: #d5d9e0; --ink: #1b1f27; --minor: #596170; --link: #0b57b7;
--good: #12662f; --good-soft: #e2f4e6; --bad: #a31515; --bad-soft: #fde8e6; --open: #7a4b00; --open-soft: #fdf0d0;
}
@media screen and (prefers-color-scheme: dark) {
:root {
--ground: #14171c; --soft: #1e232b; --line: #3a414d; --ink: #e7eaf0; --minor: #a3acbb; --link: #8ab8f5;
--good: #8fdca5; --good-soft: #173624; --bad: #ffaba3; --bad-soft: #451d1c; --open: #f3cd7c; --open-soft: #3d2f10;
}
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--ground); color: var(--ink);
font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans Arabic", "DejaVu Sans", sans-serif;
overflow-wrap: anywhere; }
[dir="auto"] { unicode-bidi: isolate; }
a { color: var(--link); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h1 .minor { font-size: 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p, ul { margin: .5rem 0; }
ul { padding-inline-start: 1.25rem; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size: .875em; }
pre { white-space: pre-wrap; margin: .25rem 0; padding: .5rem .75rem; background: var(--soft); border-radius: .375rem; }
dl, dd { margin: 0; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; }
dt, .minor, caption, figcaption { color: var(--minor); }
.minor { font-size: .9em; font-weight: normal; }
.lead { font-weight: 600; }
.mark { display: inline-block; padding: 0 .5em; border-radius: 1em; font-weight: 600; background: var(--soft); }
.good { color: var(--good); background: var(--good-soft); }
.bad, .error { color: var(--bad); background: var(--bad-soft); }
.open { color: var(--open); background: var(--open-soft); }
.verification { padding: .5rem .75rem; border-radius: .375rem; margin: .5rem 0; }
.verification p { margin: 0; }
div.error { padding: 0 .375rem; border-radius: .25rem; }
table { width: 100%; border-collapse: collapse; margin: 1rem 0; font-size: .9375rem; }
caption { text-align: start; font-weight: 600; padding: .25rem 0; }
th, td { text-align: start; vertical-align: top; padding: .375rem .5rem; border-bottom: 1px solid var(--line); }
thead th { background: var(--soft); font-weight: 600; }
tbody th { font-weight: normal; }
.checklist th:first-child { width: 32%; } .checklist th:nth-child(2) { width: 18%; }
.checklist th:nth-child(3) { width: 16%; } .checklist th:nth-child(4) { width: 1%; }
time span { white-space: nowrap; }
.evidence div { display: flex; flex-wrap: wrap; gap: 0 .375rem; font-size: .9em; }
figure { margin: 1rem 0; }
.timeline { display: block; }
.timeline text { font-size: 11px; fill: var(--minor); }
.timeline .axis { stroke: var(--line); }
.timeline circle { stroke: var(--ground); }
.timeline circle.good { fill: var(--good); } .timeline circle.bad { fill: var(--bad); }
.timeline circle.open { fill: var(--open); }
/* The line around it lets a phase of no length be seen. */
rect { stroke-width: 1; } rect.failed { stroke: var(--bad); stroke-width: 3; }
figcaption { font-size: .875rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; font-size: .875rem; }
.form { display: grid; grid-template-columns: 2fr 1fr 1fr 2fr; gap: 1.25rem 1rem; }
.form dd.line { border-bottom: 1px solid var(--ink); min-height: 1.75em; }
.box { display: inline-block; margin-inline-end: 1rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
footer { margin-top: 2rem; font-size: .875rem; color: var(--minor); }
@media screen and (max-width: 45rem) {
.form { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
table, caption, tbody, tr, th, td { display: block; width: auto !important; }
/* Seen by nobody, but heard. */
thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
tr { border: 1px solid var(--line); border-radius: .375rem; margin: .5rem 0; padding: .25rem 0; }
th, td { border: 0; padding: .125rem .75rem; }
td:not(:empty)::before { content: attr(data-label); display: block; color: var(--minor); font-size: .8125rem; }
td:empty { display: none; }
.short td:not(:empty)::before { display: inline-block; width: 6.5rem; }
.short td div { padding-inline-start: 6.5rem; }
}
@page { size: A4; margin: 14mm; }
@media print {
body { max-width: none; padding: 0; font-size: 10pt; }
nav { display: none; }
table { font-size: 9pt; }
tr, figure, li, .form, .status, .verification { break-inside: avoid; }
h2, caption, thead { break-after: avoid; }
.mark, .verification, rect, circle, thead th, .error { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.form { gap: 8mm 5mm; }
}
"""
    + "".join(f".p-{name} {{ fill: {colour}; stroke: {colour}; }}\n" for name, colour in PHASES.items())
    + f".p-other {{ fill: {OTHER}; stroke: {OTHER}; }}\n"
)
