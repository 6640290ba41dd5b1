// SPDX-License-Identifier: Apache-2.0
// The gateway's own rules, with a scripted engine that records what reaches it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { busySlots, Daemon, recorded } from './lib/daemon.ts';
import { Raw } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;
let record: string;
const text = (n: number) => Array.from({ length: n }, (_, i) => ` ${i}`).join('');
const asked = () => recorded(record).filter((line) => line.mark === 'request' && line.head.startsWith('POST'));

before(async () => {
    daemon = await Daemon.start();
    record = join(daemon.dir, 'record');
    await daemon.up(daemon.scripted('one', { record }, { parallel: 2, embeddings: true }));
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('unknown members, odd spacing and big numbers reach the engine as they were sent', async () => {
    const body = '{ "model" : "one",\n "messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude00 \\u0000"}],"seed":12345678901234567890123,' +
        '"big":1e999,"nested":{"model":"inner","stream":true},"x_custom":[1, 2,3] }';
    const answer = await daemon.post('/v1/chat/completions', body);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.choices[0].message.content, text(8));
    const sent = asked().at(-1).body;
    assert.equal(sent, body);
});

test('only headers of an allow-list go on; credentials and hops do not', async () => {
    await daemon.post('/v1/chat/completions', { model: 'one', messages: [] }, {
        authorization: 'Bearer secret-of-the-client', cookie: 'a=b', 'x-anything': 'private', te: 'trailers', 'proxy-authorization': 'Basic eA==',
    });
    const head = asked().at(-1).head.toLowerCase();
    for (const word of ['secret-of-the-client', 'cookie', 'x-anything', 'trailers', 'proxy-authorization']) {
        assert.ok(!head.includes(word), `${word} reached the engine:\n${head}`);
    }
    assert.equal(head.match(/^content-length:/gm)?.length, 1);
    assert.match(head, /^content-type: application\/json/m);
});

test('a stream keeps order and content, and drops exactly the usage that was not asked for', async () => {
    for (const include_usage of [undefined, false, true]) {
        const answer = await daemon.chat('one', {
            stream: true,
            scripted: { events: 500 },
            ...(include_usage === undefined ? {} : { stream_options: { include_usage } }),
        });
        assert.match(String(answer.headers['content-type']), /^text\/event-stream/);
        const events = answer.text.split('\n\n').filter(Boolean);
        assert.equal(events.pop(), 'data: [DONE]');
        const parsed = events.map((event) => JSON.parse(event.slice(6)));
        assert.equal(parsed.map((one) => one.choices[0]?.delta.content ?? '').join(''), text(500));
        assert.equal(parsed.filter((one) => one.usage).length, include_usage ? 1 : 0);
        assert.equal(parsed.filter((one) => one.choices.length === 0).length, include_usage ? 1 : 0);
    }
});

test('refused before any engine is asked: bad JSON, wrong types, duplicates, no model', async () => {
    const before_ = asked().length;
    const cases: Array<[string, string | Buffer, number]> = [
        ['not JSON', '{"model":"one",', 400],
        ['an array', '[]', 400],
        ['trailing garbage', '{"model":"one","messages":[]} x', 400],
        ['no model', '{"messages":[]}', 400],
        ['model is a number', '{"model":7,"messages":[]}', 400],
        ['stream is a string', '{"model":"one","messages":[],"stream":"yes"}', 400],
        ['model twice', '{"model":"one","messages":[],"model":"two"}', 400],
        ['model twice, once escaped', '{"model":"one","messages":[],"mod\\u0065l":"two"}', 400],
        ['stream twice', '{"model":"one","stream":false,"messages":[],"stream":true}', 400],
        ['a byte order mark', '\ufeff{"model":"one","messages":[]}', 400],
        ['empty', '', 400],
    ];
    for (const [what, body, status] of cases) {
        const answer = await daemon.post('/v1/chat/completions', body as string);
        assert.equal(answer.status, status, `${what}: ${answer.text}`);
        assert.equal(answer.json.error.type, 'invalid_request_error', what);
        assert.ok(answer.json.error.message.length > 5, what);
        assert.ok('code' in answer.json.error && 'param' in answer.json.error, what);
    }
    assert.equal(asked().length, before_, 'nothing reached the engine');
});

test('content types and encodings that are not plain JSON are 415', async () => {
    const body = '{"model":"one","messages":[]}';
    const form = await daemon.post('/v1/chat/completions', body, { 'content-type': 'application/x-www-form-urlencoded' });
    assert.equal(form.status, 415, form.text);
    const packed = await daemon.post('/v1/chat/completions', body, { 'content-encoding': 'gzip' });
    assert.equal(packed.status, 415, packed.text);
    assert.equal((await daemon.post('/v1/chat/completions', body, { 'content-type': 'application/json; charset=utf-8' })).status, 200);
});

test('a body beyond the limit is 413, told before it is sent', async () => {
    const raw = await Raw.open(daemon.target);
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: 40000000\r\n\r\n`);
    const answer = await raw.read((got) => got.includes('}'), 5000);
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /"error"/);
    raw.close();
    const chunk = 'x'.repeat(1 << 20);
    const chunked = await Raw.open(daemon.target);
    chunked.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`);
    for (let i = 0; i < 34 && !chunked.ended && !chunked.text; i++) {
        chunked.send(`100000\r\n${chunk}\r\n`);
    }
    assert.match(await chunked.read((got) => got.includes('}'), 10_000), /^HTTP\/1\.1 413 /);
    chunked.close();
});

test('a large body is passed whole', async () => {
    const content = 'y'.repeat(3_000_000);
    const answer = await daemon.chat('one', { messages: [{ role: 'user', content }], marker: 'large' });
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    const sent = JSON.parse(asked().at(-1).body);
    assert.equal(sent.messages[0].content.length, content.length);
});

test('no more than slots + 1 requests are at the engine; the rest stands in line and is answered in order', async () => {
    const [instance] = await daemon.instances('one');
    const before_ = asked().length;
    let most = 0;
    const answers = Array.from({ length: 10 }, (_, n) => daemon.chat('one', { n, scripted: { events: 2, first_ms: 60 } }));
    const all = Promise.all(answers);
    let open = true;
    void all.finally(() => (open = false));
    while (open) {
        const now = (await daemon.instances('one'))[0];
        most = Math.max(most, now.in_flight);
    }
    for (const answer of await all) {
        assert.equal(answer.status, 200, answer.text);
    }
    assert.equal(instance.id, (await daemon.instances('one'))[0].id);
    assert.ok(most <= 3, `${most} in flight`);
    assert.equal(asked().length - before_, 10);
});

test('a full line is refused with the time to come back', async () => {
    const own = await Daemon.start({ config: { gateway: { max_queue: 3 } } });
    await own.up(own.scripted('one', {}, { parallel: 1 }));
    const answers = await Promise.all(Array.from({ length: 12 }, () => own.chat('one', { scripted: { first_ms: 100 } })));
    const served = answers.filter((answer) => answer.status === 200);
    const refused = answers.filter((answer) => answer.status !== 200);
    assert.equal(served.length, 5, '2 at the engine (slots + 1) and 3 in the line');
    for (const answer of refused) {
        assert.ok([429, 503].includes(answer.status), answer.text);
        assert.match(String(answer.headers['retry-after']), /^[1-9]\d*$/);
        assert.ok(answer.json.error.message);
    }
    assert.deepEqual(await own.finish(), []);
});

test('who waits too long in the line is told so', async () => {
    const own = await Daemon.start({ config: { gateway: { queue_timeout: '300ms' } } });
    await own.up(own.scripted('one', {}, { parallel: 1 }));
    const held = [1, 2].map(() => own.chat('one', { scripted: { first_ms: 1500 } }));
    await until('the engine to be full', async () => (await own.instances('one'))[0].in_flight === 2);
    const late = await own.chat('one');
    assert.ok([408, 429, 503, 504].includes(late.status), `${late.status} ${late.text}`);
    assert.ok(late.json.error.message);
    assert.ok((await Promise.all(held)).every((answer) => answer.status === 200));
    assert.deepEqual(await own.finish(), []);
});

test('a model that is stopped is refused with 503 and a reason, not held for ever', async () => {
    await daemon.create({ ...daemon.scripted('idle'), on_demand: false });
    const answer = await daemon.chat('idle');
    assert.equal(answer.status, 503, answer.text);
    assert.match(answer.json.error.message, /idle/);
});

test('embeddings and completions reach their own endpoints', async () => {
    assert.deepEqual((await daemon.post('/v1/embeddings', { model: 'one', input: 'x' })).json.data[0].embedding, [0.5, -0.25, 0.125]);
    assert.equal((await daemon.post('/v1/completions', { model: 'one', prompt: 'x' })).json.choices[0].text, text(8));
    assert.match(asked().at(-2).head, /^POST \/v1\/embeddings /);
});

test('a client whose requests the engine answers with errors takes the model from nobody else', async () => {
    for (const status of [500, 501]) {
        for (let n = 0; n < 12; n++) {
            assert.equal((await daemon.chat('one', { scripted: { status } })).status, status);
        }
        const { targets } = (await daemon.get('/api/proxy/targets')).json;
        assert.equal(targets.one.length, 1);
        assert.equal((await daemon.chat('one')).status, 200);
    }
});

test('wrong paths and methods get the OpenAI error object', async () => {
    const missing = await daemon.post('/v1/nothing/here', {});
    assert.equal(missing.status, 404);
    assert.equal(typeof missing.json.error.message, 'string');
    const method = await daemon.get('/v1/chat/completions');
    assert.equal(method.status, 405);
    assert.equal(method.headers.allow, 'POST');
    assert.equal(typeof method.json.error.message, 'string');
    const one = await daemon.get('/v1/models/one');
    assert.equal(one.status, 200);
    assert.equal(one.json.id, 'one');
    assert.equal((await daemon.get('/v1/models/none')).status, 404);
});

test('a client that leaves a whole answer cancels it at the engine', async () => {
    const [instance] = await daemon.instances('one');
    const raw = await Raw.open(daemon.target);
    const body = JSON.stringify({ model: 'one', messages: [], scripted: { hang: true } });
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await until('the request to be at the engine', async () => (await busySlots(instance)) === 1, 5000);
    const gone = () => recorded(record).filter((line) => line.mark === 'gone').length;
    const before_ = gone();
    raw.close();
    await until('the engine to see its client leave', () => gone() > before_, 5000);
    assert.equal(instance.pid, (await daemon.instances('one'))[0].pid);
});

test('a long silent stream is kept alive by comments after stream_wait', async () => {
    await daemon.finish();
    daemon = await Daemon.start({ config: { gateway: { stream_wait: '300ms' } } });
    record = join(daemon.dir, 'record');
    await daemon.up(daemon.scripted('one', { record }, { parallel: 1 }));
    const raw = await Raw.open(daemon.target);
    const body = JSON.stringify({ model: 'one', messages: [], stream: true, scripted: { events: 3, first_ms: 1200 } });
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const early = await raw.read((got) => /\r\n:|\n:/.test(got), 1100);
    assert.match(early, /^HTTP\/1\.1 200 /);
    assert.ok(!early.includes('"content"'), 'a comment came before the first event');
    const whole = await raw.read((got) => got.endsWith('0\r\n\r\n'), 5000);
    assert.match(whole, /" 0"[^]*" 1"[^]*" 2"[^]*\[DONE\]/);
    raw.close();
});
