// SPDX-License-Identifier: Apache-2.0
// How the dashboard is built: one folder of hashed files that the daemon embeds, and charts, editors and pages apart, so that
// the first page stays small. `npm run dev` proxies to a daemon (BERTH_URL, http://127.0.0.1:8080).
import { fileURLToPath } from 'node:url';
import vue from '@vitejs/plugin-vue';
import { ElementPlusResolver } from 'unplugin-vue-components/resolvers';
import Components from 'unplugin-vue-components/vite';
import { defineConfig } from 'vite';

const daemon = process.env.BERTH_URL ?? 'http://127.0.0.1:8080';
const doors = ['/api', '/v1', '/ws', '/scheduler', '/docs', '/openapi.json', '/health', '/ready', '/metrics', '/task', '/queue'];

export default defineConfig({
    base: './',
    plugins: [vue(), Components({ dts: false, dirs: [], resolvers: [ElementPlusResolver({ importStyle: 'css' })] })],
    resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
    define: { __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_I18N_LEGACY_API__: 'false', __INTLIFY_PROD_DEVTOOLS__: 'false' },
    build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 900 },
    server: { proxy: Object.fromEntries(doors.map((door) => [door, { target: daemon, ws: true }])) },
});
