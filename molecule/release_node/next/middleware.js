// Every answer but those of files says which release gave it.
import path from 'path';
import { NextResponse } from 'next/server';

export const config = { runtime: 'nodejs', matcher: '/((?!_next/).*)' };

export function middleware() {
  const response = NextResponse.next();
  response.headers.set('X-App-Release', path.basename(process.cwd()));
  return response;
}
