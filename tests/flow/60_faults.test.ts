// SPDX-License-Identifier: Apache-2.0
// Engines that misbehave: nothing hangs, nobody else suffers, and the user reads what happened.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { busySlots, Daemon, type Instance, model, recorded } from './lib/daemon.ts';
import { Raw } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { llamaServer, loopGguf, sanitized } from './lib/paths.ts';
import { alive, hwmKb, kill } from './lib/proc.ts';
import { until, within } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    // No breaker here: each fault is to be seen for itself. (64_chaos has all of them at once, and the breaker.)
    daemon = await Daemon.start({ config: { engines: { stop_grace: '500ms', start_timeout: '3s' }, gateway: { breaker_failures: 0 } } });
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

const numbers = (n: number) => Array.from({ length: n }, (_, i) => ` ${i}`).join('');
const quickRetry = { retry_policy: { max_attempts: 3, initial_delay: 0, max_delay: 1, backoff_factor: 1.0 } };

interface Read {
    text: string; // of all tokens
    error: any; // of the error event
    done: boolean;
    whole: boolean; // the HTTP answer ended as it should
    status: number;
}

/** Reads one streamed chat to its end, whatever that is; `progress` is called with the text so far. */
async function stream(id: string, extra: Record<string, unknown> = {}, progress: (read: Read) => void = () => {}): Promise<Read> {
    const body = JSON.stringify({ model: id, messages: [{ role: 'user', content: 'go' }], stream: true, ...extra });
    const raw = await Raw.open(daemon.target);
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    const read: Read = { text: '', error: undefined, done: false, whole: false, status: 0 };
    let seen = 0;
    const update = () => {
        read.status = Number(/^HTTP\/1\.1 (\d+)/.exec(raw.text.slice(0, 20))?.[1] ?? 0);
        for (;;) {
            const start = raw.text.indexOf('data: ', seen);
            const end = start < 0 ? -1 : raw.text.indexOf('\n\n', start);
            if (end < 0) {
                break;
            }
            const data = raw.text.slice(start + 6, end);
            seen = end;
            if (data === '[DONE]') {
                read.done = true;
                continue;
            }
            const event = JSON.parse(data);
            read.text += event.choices?.[0]?.delta?.content ?? '';
            read.error = event.error ?? read.error;
        }
        progress(read);
    };
    raw.socket.on('data', update);
    await raw.readToEnd(60_000);
    update();
    read.whole = read.status === 200 ? raw.text.endsWith('0\r\n\r\n') : true;
    raw.close();
    return read;
}

async function remove(id: string): Promise<void> {
    await daemon.ask({ method: 'DELETE', path: `/api/models/${id}` });
}

test('kill -9 of the engine under 32 streams: the running ones end with an error event, the rest is answered after the restart', async () => {
    const instance = await daemon.up({ ...daemon.scripted('busy', {}, { parallel: 16 }), ...quickRetry });
    const begun = new Set<number>();
    const reads = Array.from({ length: 32 }, (_, n) => stream('busy', { n, scripted: { events: 40, event_ms: 25 } }, (read) => read.text && begun.add(n)));
    await until('16 streams to have begun', () => begun.size === 16);
    const running = new Set(begun);
    kill(instance.pid);
    const results = await within('32 streams', 30_000, Promise.all(reads));
    for (const [n, read] of results.entries()) {
        assert.equal(read.status, 200, `stream ${n}`);
        assert.ok(read.whole, `stream ${n} ends as HTTP should: ${JSON.stringify(read)}`);
        if (running.has(n)) {
            assert.ok(read.error?.message, `stream ${n} was running and ends with an error event: ${JSON.stringify(read)}`);
            assert.ok(numbers(40).startsWith(read.text) && read.text.length < numbers(40).length);
        } else {
            assert.equal(read.text, numbers(40), `stream ${n} was waiting and is answered: ${JSON.stringify(read.error)}`);
            assert.ok(read.done);
        }
    }
    const next = await daemon.readyInstance('busy');
    assert.notEqual(next.pid, instance.pid);
    assert.equal((await daemon.chat('busy')).status, 200);
    await remove('busy');
});

test('the same with a real llama-server', async () => {
    const instance = await daemon.up(model({ id: 'real', model_path: loopGguf, parameters: { binary: llamaServer, parallel: 4 }, ...quickRetry }));
    const begun = new Set<number>();
    const running = [0, 1, 2, 3].map((n) => stream('real', { max_tokens: 100_000 }, (read) => read.text && begun.add(n)));
    await until('4 streams to have begun', () => begun.size === 4);
    const waiting = [4, 5, 6, 7].map(() => stream('real', { max_tokens: 20 }));
    await until('4 others to be there', async () => {
        const [now] = await daemon.instances('real');
        return now.in_flight + now.waiting === 8;
    });
    kill(instance.pid);
    for (const read of await within('the running streams', 30_000, Promise.all(running))) {
        assert.ok(read.error?.message, `a running stream ends with an error event: ${read.text.length} characters, done: ${read.done}`);
    }
    for (const read of await within('the others', 30_000, Promise.all(waiting))) {
        assert.ok(read.done && !read.error, `one that waited is answered: ${JSON.stringify(read)}`);
    }
    assert.equal((await daemon.chat('real', { max_tokens: 5 })).status, 200);
    await remove('real');
});

test('an engine that dies or hangs up within a stream: what came, an error event, the end', async () => {
    await daemon.up({ ...daemon.scripted('mortal'), ...quickRetry });
    for (const fault of [{ die_after_events: 5 }, { close_after_events: 7 }]) {
        const n = Object.values(fault)[0];
        const read = await stream('mortal', { scripted: { events: 100, ...fault } });
        assert.equal(read.text, numbers(n), JSON.stringify(fault));
        assert.ok(read.error?.message && read.error?.type, JSON.stringify(read));
        assert.ok(read.whole);
        await daemon.readyInstance('mortal');
        assert.equal((await stream('mortal')).text, numbers(8));
    }
    await remove('mortal');
});

test('crash loop: given up after the attempts, with the exit code and the last words; start begins anew', async () => {
    const record = join(daemon.dir, 'crashes');
    const words = 'CUDA error: no kernel image for 12345 MB of anything';
    await daemon.create({ ...daemon.scripted('crashing', { exit_at_start: 7, last_words: words, record, stderr_bytes: 200_000 }), ...quickRetry });
    await daemon.post('/api/models/crashing/start');
    const instance = await daemon.waitState('crashing', 'failed');
    assert.equal(await daemon.status('crashing'), 'error');
    assert.match(String(instance.last_error), /12345 MB/);
    assert.match(String(instance.last_error), /\b7\b/);
    const starts = () => recorded(record).filter((line) => line.mark === 'start').length;
    const given = starts();
    assert.ok(given >= 3 && given <= 4, `${given} starts for 3 attempts`);
    const refused = await daemon.chat('crashing');
    assert.equal(refused.status, 503);
    assert.match(refused.json.error.message, /12345 MB/);
    assert.equal(starts(), given, 'and it stays given up');

    daemon.behaviour('crashing', { record });
    await daemon.post('/api/models/crashing/start');
    await daemon.readyInstance('crashing');
    assert.equal((await daemon.chat('crashing')).status, 200);
    await remove('crashing');
});

test('one crash is no loop: it comes back by itself, and who waits is answered', async () => {
    await daemon.create({ ...daemon.scripted('stumbling', { by_start: [{ exit_at_start: 1 }, { load_ms: 200 }] }), ...quickRetry });
    await daemon.post('/api/models/stumbling/start');
    const answer = await daemon.chat('stumbling');
    assert.equal(answer.status, 200, answer.text);
    await remove('stumbling');
});

test('a request waits for a slow start, and is answered', async () => {
    await daemon.create(daemon.scripted('slow', { load_ms: 1000 }));
    await daemon.post('/api/models/slow/start');
    const [whole, streamed] = await Promise.all([daemon.chat('slow'), stream('slow')]);
    assert.equal(whole.status, 200, whole.text);
    assert.equal(streamed.text, numbers(8));
    await remove('slow');
});

test('an engine that never gets ready is ended after start_timeout, and says so', async () => {
    await daemon.create({ ...daemon.scripted('never', { never_ready: true }), retry_policy: { max_attempts: 1, initial_delay: 0 } });
    await daemon.post('/api/models/never/start');
    const pid = await until('its process', async () => (await daemon.instances('never'))[0]?.pid);
    assert.match(String((await daemon.waitState('never', 'failed')).last_error), /ready|time/i);
    assert.ok(!alive(pid));
    await remove('never');
});

test('an engine that hangs is found by its probe, ended, restarted; the request in it is answered by the next', async () => {
    const config = daemon.scripted('hanging', { by_start: [{ hang_health_after_ms: 300, hang: true }, {}] });
    const instance = await daemon.up({ ...config, ...quickRetry, health_check: { interval: 1, timeout: 1, max_failures: 2 } });
    const answer = await within('the request', 25_000, daemon.chat('hanging'));
    assert.equal(answer.status, 200, answer.text);
    assert.notEqual((await daemon.readyInstance('hanging')).pid, instance.pid);
    assert.ok(!alive(instance.pid, instance.start_time));
    await remove('hanging');
});

test('an answer that is no HTTP becomes a 502 object, and the engine is asked again afterwards', async () => {
    await daemon.up({ ...daemon.scripted('broken'), ...quickRetry });
    for (const broken of ['two_content_lengths', 'te_and_cl', 'bare_lf', 'huge_header', 'early_close', 'garbage', 'nothing']) {
        for (const streamed of [false, true]) {
            const answer = await daemon.chat('broken', { stream: streamed, scripted: { broken } });
            assert.equal(answer.status, 502, `${broken}: ${answer.status} ${answer.text.slice(0, 200)}`);
            assert.ok(answer.json.error.message && answer.json.error.type, broken);
        }
        assert.equal((await daemon.chat('broken')).status, 200, `after ${broken}`);
    }
    for (const broken of ['short_body', 'bad_chunk']) { // after a good head: too late for a 502 perhaps, never whole
        const short = await daemon.chat('broken', { scripted: { broken } }).then((answer) => answer.status, () => 'cut');
        assert.ok([502, 'cut'].includes(short), `${broken} is never passed on as whole: ${short}`);
        assert.equal((await daemon.chat('broken')).status, 200, `after ${broken}`);
    }
    await remove('broken');
});

test('the engine\'s own errors are passed on', async () => {
    const record = join(daemon.dir, 'refusing-record');
    await daemon.up(daemon.scripted('refusing', { record }));
    const body = '{"error":{"code":400,"message":"request (64026 tokens) exceeds the available context size","type":"exceed_context_size_error"}}';
    const answer = await daemon.chat('refusing', { scripted: { status: 400, body } });
    assert.equal(answer.status, 400);
    assert.match(answer.json.error.message, /64026 tokens/);
    for (const status of [500, 503]) {
        const failed = await daemon.chat('refusing', { scripted: { status } });
        assert.ok(failed.status >= 500, `${failed.status}`);
        assert.ok(failed.json.error.message);
    }
    assert.equal((await daemon.chat('refusing')).status, 200);
    const asked = recorded(record).filter((line) => line.mark === 'request' && line.head.startsWith('POST'));
    assert.equal(asked.length, 4, 'each was asked once: there is no other to go to');
    await remove('refusing');
});

test('an engine that ignores SIGTERM is killed after the grace', async () => {
    const instance = await daemon.up(daemon.scripted('stubborn', { ignore_sigterm: true }));
    await daemon.post('/api/models/stubborn/stop');
    await daemon.waitStatus('stubborn', 'stopped', 10_000);
    assert.ok(!alive(instance.pid, instance.start_time));
    await remove('stubborn');
});

test('stopping a model lets its running streams end, and takes no new ones', async () => {
    await daemon.up({ ...daemon.scripted('draining'), on_demand: false });
    const read = stream('draining', { scripted: { events: 30, event_ms: 30 } });
    await until('it to run', async () => (await daemon.instances('draining'))[0].in_flight === 1);
    await daemon.post('/api/models/draining/stop');
    const refused = await daemon.chat('draining');
    assert.equal(refused.status, 503, refused.text);
    assert.equal((await read).text, numbers(30));
    await daemon.waitStatus('draining', 'stopped');
    await remove('draining');
});

test('a client that leaves a stream that has stalled frees the slot', async () => {
    const instance = await daemon.up(daemon.scripted('stalling', {}, { parallel: 1 }));
    const raw = await Raw.open(daemon.target);
    const body = JSON.stringify({ model: 'stalling', messages: [], stream: true, scripted: { events: 10, stall_after_events: 3 } });
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await raw.read((text) => text.includes('" 2"'));
    assert.equal(await busySlots(instance), 1);
    raw.close();
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
    assert.equal((await daemon.chat('stalling')).status, 200);
    await remove('stalling');
});

/** The engine's own count of what it has said, once it has stopped growing. */
async function standstill(instance: Instance, n: number): Promise<number> {
    const { ask } = await import('./lib/http.ts');
    let last = -1;
    return until('the engine to be held back', async () => {
        const slots = (await ask({ socketPath: instance.socket }, { path: '/slots' })).json;
        const said = slots.reduce((sum: number, slot: any) => sum + slot.next_token[0].n_decoded, 0);
        const busy = slots.filter((slot: any) => slot.is_processing).length;
        const same = said === last && busy === n;
        last = said;
        return same && said;
    }, 20_000, 300);
}

test('a slow reader of a 1 GB answer slows the engine; berth\'s memory stays bounded', { timeout: 120_000 }, async () => {
    const piece = 16_384;
    const events = 65_536;
    const bound = sanitized ? 600 * 1024 : 64 * 1024; // kB
    const own = await Daemon.start();
    const instance = await own.up(own.scripted('huge', {}, { parallel: 64 }));
    for (const streamed of [true, false]) {
        const raw = await Raw.open(own.target);
        const body = JSON.stringify({ model: 'huge', messages: [], stream: streamed, scripted: { events, event_bytes: piece } });
        let bytes = 0;
        let tail = '';
        raw.socket.removeAllListeners('data');
        raw.socket.on('data', (data) => {
            bytes += data.length;
            tail = (tail + data.toString('latin1', Math.max(0, data.length - 400))).slice(-400);
        });
        raw.socket.pause();
        raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${own.port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        const said = await standstill(instance, 1);
        assert.ok(said < events / 8, `the engine is held back at ${said} of ${events} pieces`);
        assert.ok(hwmKb(own.pid) < bound, `VmHWM ${hwmKb(own.pid)} kB with a reader that does not read`);
        raw.socket.resume();
        await until('the whole answer', () => raw.ended, 60_000);
        assert.ok(bytes > events * piece, `${bytes} bytes`);
        assert.match(tail, streamed ? /data: \[DONE\]\n\n\r\n0\r\n\r\n$/ : /"usage"[^]*\}/);
        assert.ok(hwmKb(own.pid) < bound, `VmHWM ${hwmKb(own.pid)} kB after 1 GB`);
    }
    const readers = await Promise.all(Array.from({ length: 48 }, async () => {
        const raw = await Raw.open(own.target);
        raw.socket.pause();
        const body = JSON.stringify({ model: 'huge', messages: [], stream: true, scripted: { events, event_bytes: piece } });
        raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${own.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        return raw;
    }));
    await standstill(instance, 48);
    assert.ok(hwmKb(own.pid) < 2 * bound, `VmHWM ${hwmKb(own.pid)} kB with 48 readers that do not read`);
    assert.equal((await own.chat('huge')).status, 200, 'others are served meanwhile');
    readers.forEach((raw) => raw.close());
    await until('all slots to be free', async () => (await busySlots(instance)) === 0, 5000);
    assert.deepEqual(await own.finish(), []);
});

test('what must be held to its end (Ollama, not streamed) is held within the budget, and refused beyond it', async () => {
    const tight = await Daemon.start({ config: { gateway: { spill_budget: '1MiB' } } });
    await tight.up(tight.scripted('long', { events: 400, event_bytes: 8192 }));
    const ask = () => tight.post('/api/generate', { model: 'long', prompt: 'go', stream: false });
    const refused = await ask();
    assert.equal(refused.status, 503, refused.text.slice(0, 300));
    assert.match(refused.json.error, /too many long answers are held/);
    assert.match((await tight.get('/metrics')).text, /berth_spilled_bytes 0\n/);
    assert.equal((await tight.chat('long')).text.length > 400 * 8192, true, 'one that can go as it comes is whole');
    assert.deepEqual(await tight.finish(), []);
});

test('an engine that logs ten megabytes does not trouble berth', async () => {
    const instance = await daemon.up(daemon.scripted('chatty', { stderr_bytes: 10_000_000 }));
    assert.ok(readFileSync(instance.log).length > 1_000_000);
    const tail = await daemon.get('/api/models/chatty/logs?lines=5');
    assert.equal(tail.status, 200);
    assert.match(tail.text, /listening on/);
    assert.ok(tail.text.length < 10_000);
    await remove('chatty');
});
