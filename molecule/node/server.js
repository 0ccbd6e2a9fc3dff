// A server as small as can be: says who and where it is, and ends after its last request.
'use strict';
const http = require('http');
const server = http.createServer((request, response) => {
  const answer = { release: __dirname, cwd: process.cwd(), pid: process.pid, uid: process.getuid(), env: process.env, argv: process.argv.slice(2) };
  setTimeout(() => response.end(JSON.stringify(answer)), request.url === '/slow' ? 1000 : 0);
});
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  if (server.closeIdleConnections) server.closeIdleConnections();
});
// A release takes a moment until it answers.
setTimeout(() => server.listen(Number(process.env.PORT), process.env.HOST), 300);
