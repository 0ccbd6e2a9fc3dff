'use client';

// In the browser's code, whose file has another name in each version.
import { useState } from 'react';

export default function Version() {
  const [shown, show] = useState(false);
  return <button onClick={() => show(!shown)}>{shown ? 'VERSION' : 'Version?'}</button>;
}
