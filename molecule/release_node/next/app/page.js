// What answers, for people and for tests. Each request is answered anew: the release is known on the host alone.
import path from 'path';
import Version from './version';
import about from '../version.json';

export const dynamic = 'force-dynamic';

export default function Page() {
  const release = path.basename(process.cwd());
  return (
    <>
      <pre>{JSON.stringify({ release, version: about.version, pid: process.pid, greeting: process.env.GREETING })}</pre>
      <Version />
    </>
  );
}
