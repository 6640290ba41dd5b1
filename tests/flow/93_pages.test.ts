// SPDX-License-Identifier: Apache-2.0
// The pages that the program carries: what a browser is given of the dashboard and of /docs, how it may keep it, and what the pages may do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin } from './lib/paths.ts';

let daemon: Daemon;
const html = { accept: 'text/html,application/xhtml+xml' };

before(async () => {
    daemon = await Daemon.start();
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

/** The paths that a page loads, as the browser resolves them. */
const parts = (page: string) => [...page.matchAll(/(?:src|href)="(\.?\/[^"]+)"/g)].map(([, path]) => new URL(path, daemon.url).pathname);
const names = (list: unknown) => String(list).split(/, */).map((name) => name.toLowerCase());

/** The directives of a Content-Security-Policy. */
function policy(header: unknown): Map<string, string> {
    return new Map(String(header).split(';').map((part) => part.trim().split(/ (.*)/s)).map(([name, value]) => [name, value ?? '']));
}

test('a browser is given the first page, a program still the JSON', async () => {
    const page = await daemon.get('/', html);
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-type']), /^text\/html/);
    assert.match(page.text, /^<!doctype html>/i);
    assert.ok(names(page.headers.vary).includes('accept') && names(page.headers.vary).includes('accept-encoding'), page.headers.vary);
    assert.equal(page.headers['cache-control'], 'no-cache');
    const json = await daemon.get('/');
    assert.equal(json.json.name, 'berth');
    assert.ok(names(json.headers.vary).includes('accept'), 'caches keep the two apart');
});

test('all that the first page loads is here, in types that a browser takes', async () => {
    const loaded = parts((await daemon.get('/', html)).text).filter((path) => /\.\w+$/.test(path));
    assert.ok(loaded.length >= 2, loaded.join(' '));
    for (const path of loaded) {
        const answer = await fetch(daemon.url + path);
        assert.equal(answer.status, 200, path);
        const type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }[path.split('.').pop()!];
        assert.ok(type && answer.headers.get('content-type')?.startsWith(type), `${path}: ${answer.headers.get('content-type')}`);
        assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
        assert.ok((await answer.text()).length > 0, path);
    }
});

test('the first page may load nothing from elsewhere, run nothing in line, and stand in no frame', async () => {
    const { headers, text } = await daemon.get('/', html);
    const rules = policy(headers['content-security-policy']);
    assert.equal(rules.get('default-src'), "'none'");
    for (const name of ['script-src', 'style-src', 'connect-src', 'font-src', 'frame-src']) {
        assert.equal(rules.get(name), "'self'", name);
    }
    for (const name of ['base-uri', 'form-action', 'frame-ancestors']) {
        assert.equal(rules.get(name), "'none'", name);
    }
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.ok(!/<script>|<style|style=|(?:src|href)="https?:/.test(text), text);
});

test('/docs may stand in a frame of the dashboard, and of nobody else', async () => {
    const rules = policy((await daemon.get('/docs')).headers['content-security-policy']);
    assert.equal(rules.get('frame-ancestors'), "'self'");
    assert.equal(rules.get('default-src'), "'none'");
});

test('what a browser has already it is not given again', async () => {
    for (const path of ['/', '/docs', '/docs/docs.js', '/favicon.svg']) {
        const first = await daemon.get(path, html);
        const etag = String(first.headers.etag);
        assert.match(etag, /^"[^"]+"$/, `${path}: a strong one`);
        for (const known of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
            const again = await daemon.get(path, { ...html, 'if-none-match': known });
            assert.equal(again.status, 304, `${path} ${known}`);
            assert.equal(again.text, '');
            assert.equal(again.headers.etag, etag);
        }
        assert.equal((await daemon.get(path, { ...html, 'if-none-match': '"other"' })).status, 200);
        assert.equal((await daemon.get(path, { ...html, 'if-none-match': etag.slice(1, -1) })).status, 200, 'no tag without its quotes');
    }
});

test('gzip is given to who takes it, and is another representation', async () => {
    const plain = await daemon.get('/', html);
    assert.equal(plain.headers['content-encoding'], undefined, 'who says nothing is given the page as it is');
    for (const coding of ['gzip', 'gzip, deflate, br', 'br;q=1.0, GZIP;q=0.5', '*']) {
        const packed = await daemon.get('/', { ...html, 'accept-encoding': coding });
        assert.equal(packed.headers['content-encoding'], 'gzip', coding);
        assert.notEqual(packed.headers.etag, plain.headers.etag);
        assert.equal((await daemon.get('/', { ...html, 'accept-encoding': coding, 'if-none-match': String(plain.headers.etag) })).status, 200);
    }
    for (const coding of ['identity', 'gzip;q=0', 'gzip; q=0.000, *', 'br', '*;q=0']) {
        assert.equal((await daemon.get('/', { ...html, 'accept-encoding': coding })).headers['content-encoding'], undefined, coding);
    }
    const unpacked = await fetch(`${daemon.url}/`, { headers: { accept: 'text/html', 'accept-encoding': 'gzip' } });
    assert.equal(await unpacked.text(), plain.text);
});

test('what is not there is a 404 in words', async () => {
    for (const path of ['/assets/nothing.js', '/assets/..%2findex.html', '/assets/index.html']) {
        const answer = await daemon.get(path);
        assert.equal(answer.status, 404, path);
        assert.match(answer.json.detail, /no page/);
    }
    assert.equal((await daemon.get('/assets/')).status, 404);
    assert.equal((await daemon.get('/assets/a/b.js')).status, 404);
    assert.equal((await daemon.ask({ method: 'POST', path: '/assets/nothing.js', headers: { 'content-length': '0' } })).status, 405);
});

test('parts of the dashboard are kept for good, and are there gzipped only', async (t) => {
    const asset = parts((await daemon.get('/', html)).text).find((path) => path.startsWith('/assets/'));
    if (!asset) {
        t.skip('this berth is built without its dashboard');
        return;
    }
    const answer = await daemon.get(asset);
    assert.equal(answer.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(answer.headers['content-encoding'], 'gzip');
    const head = await fetch(daemon.url + asset, { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text(), head.headers.get('etag')], [200, '', answer.headers.etag]);
    assert.equal(head.headers.get('content-length'), answer.headers['content-length']);
    assert.equal((await daemon.get(asset, { 'if-none-match': String(answer.headers.etag) })).status, 304);
    for (const coding of ['identity', 'gzip;q=0', 'br']) {
        const refused = await daemon.get(asset, { 'accept-encoding': coding });
        assert.equal(refused.status, 406, coding);
        assert.match(refused.json.detail, /gzip/);
        assert.equal(refused.headers['content-encoding'], undefined);
    }
});

test('the pages are for everybody, what they show is not', async () => {
    const locked = await Daemon.start({ config: { access: { keys: 'on' } } });
    for (const path of ['/', '/docs', '/docs/docs.js', '/favicon.svg', ...parts((await locked.get('/', html)).text)]) {
        assert.equal((await locked.get(path, html)).status, 200, path);
    }
    assert.equal((await locked.get('/api/models/')).status, 401);
    assert.deepEqual(await locked.finish(), []);
});

test('berth openapi prints what GET /openapi.json answers', async () => {
    const printed = JSON.parse(execFileSync(berthBin, ['openapi'], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }));
    assert.deepEqual(printed, (await daemon.get('/openapi.json')).json);
});
