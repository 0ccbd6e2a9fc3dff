// As a front end is built: hashed names, and a manifest that the server reads.
'use strict';
const { buildSync } = require('esbuild');
const fs = require('fs');

const { outputs } = buildSync({
  entryPoints: ['assets/page.js'],
  bundle: true,
  minify: true,
  entryNames: '[name]-[hash]',
  outdir: 'public/build',
  metafile: true,
}).metafile;
fs.writeFileSync('assets.json', JSON.stringify(Object.keys(outputs).map((name) => name.replace('public', ''))));
