// SPDX-License-Identifier: Apache-2.0
// Starts the dashboard: language and colours first, so that nothing flickers.
import 'element-plus/theme-chalk/base.css';
import 'element-plus/theme-chalk/dark/css-vars.css';
import { createApp } from 'vue';
import App from './App.vue';
import { START_LOCATION } from 'vue-router';
import { liveState, startLive } from './api/live';
import { i18n, setLanguage, wantedLanguage } from './i18n';
import { startTheme } from './lib/theme';
import { router } from './pages';
import './style.css';

// A page's file that is not there any more: the daemon was replaced by another build, whose files have other names.
router.onError((_error, to, from) => {
    if (from !== START_LOCATION && liveState.value === 'live') {
        location.hash = to.fullPath;
        location.reload();
    }
});

startTheme();
await setLanguage(wantedLanguage());
createApp(App).use(i18n).use(router).mount('#app');
startLive();
