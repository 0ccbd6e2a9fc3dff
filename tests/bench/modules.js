// Writes the modules that make the front end of the benchmark's large version as large as that of an application that
// has grown for years. What bundles them, and how long that takes, is real.
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';

const COUNT = 6000;
// Modules that import each other in a row; the bundler follows them by recursion.
const ROW = 20;
const directory = 'resources/js/modules';

mkdirSync(directory, { recursive: true });
let all = '';
for (let number = 0; number < COUNT; number += 1) {
    const next = (number + 1) % ROW ? `import { step as next } from './m${number + 1}.js';` : 'const next = (x) => x;';
    const fields = Array.from({ length: 12 }, (_, i) => `field${i}: 'label ${number * 31 + i}'`).join(', ');
    writeFileSync(`${directory}/m${number}.js`, `${next}
const labels = { ${fields} };
export function step(value) {
    const seen = new Map(Object.entries(labels));
    for (const [name, label] of seen) {
        if (label.endsWith(String(value % 10))) { seen.set(name, label.toUpperCase()); }
    }
    return value > ${number} ? next(value - seen.size) : [...seen.values()].join('-');
}
`);
    all += `export { step as step${number} } from './m${number}.js';\n`;
}
writeFileSync(`${directory}/all.js`, all);
appendFileSync('resources/js/app.js', "\nimport * as steps from './modules/all.js';\nwindow.steps = steps;\n");
