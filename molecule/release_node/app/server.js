// A small server that says which release answered, and ends after its last request.
'use strict';
const express = require('express');
const path = require('path');
const assets = require('./assets.json');
const { version } = require('./version.json');

const release = path.basename(__dirname);
const app = express();
app.use((request, response, next) => {
  response.set('X-App-Release', release);
  next();
});
app.use(express.static(path.join(__dirname, 'public')));
app.get('/up', (request, response) => response.status(200).json({ release }));
app.get('/slow', (request, response) => setTimeout(() => response.json({ release }), 1000));
app.get('/', (request, response) => {
  response.json({ release, version, assets, pid: process.pid, greeting: process.env.GREETING });
});

const server = app.listen(Number(process.env.PORT), process.env.HOST);
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
