import { defineConfig } from 'vite';

// Hashed files and their manifest in public/build, where app/Assets.php reads it.
export default defineConfig({
    base: '/build/',
    publicDir: false,
    build: {
        outDir: 'public/build',
        manifest: 'manifest.json',
        rollupOptions: { input: 'resources/js/app.js' },
    },
});
