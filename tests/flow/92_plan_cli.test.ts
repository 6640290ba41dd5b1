// SPDX-License-Identifier: Apache-2.0
// The planner and the simulator as somebody at a terminal has them: no daemon runs, what is printed can be read, its numbers agree with its
// JSON, what is wrong is said by its name, and nothing is left behind.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { berthBin, root, storiesGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

interface Run {
    code: number;
    out: string;
    err: string;
    json: any;
}

const base = mkdtempSync(join(tmpdir(), 'berth-plan-'));
const home = join(base, 'home'); // what the tests write
const here = join(base, 'here'); // where the commands run, and $TMPDIR: nothing is to be left in them
const temporary = join(base, 'tmp');

before(() => [home, here, temporary].forEach((dir) => mkdirSync(dir)));
after(() => {
    assert.deepEqual([...readdirSync(here), ...readdirSync(temporary)], [], 'left behind');
    rmSync(base, { recursive: true });
});

const environment = { PATH: process.env.PATH, HOME: here, TMPDIR: temporary, LC_ALL: 'C.UTF-8', BERTH_DATA_DIR: join(base, 'no-daemon') };

function berth(...args: string[]): Promise<Run> {
    return new Promise((done) => {
        execFile(berthBin, args, { env: environment, cwd: here, encoding: 'utf8', timeout: 60_000, maxBuffer: 64 << 20 }, (error, out, err) => {
            let json: any;
            try {
                json = JSON.parse(out);
            } catch {
                json = undefined;
            }
            done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, out, err, json });
        });
    });
}

async function good(...args: string[]): Promise<Run> {
    const run = await berth(...args);
    assert.equal(run.code, 0, `berth ${args.join(' ')}: ${run.err}${run.out}`);
    assert.equal(run.err, '', `berth ${args.join(' ')}`);
    return run;
}

async function refused(code: number, wanted: RegExp, ...args: string[]): Promise<Run> {
    const run = await berth(...args);
    assert.equal(run.code, code, `berth ${args.join(' ')}: ${run.err}${run.out}`);
    assert.match(run.err + run.out, wanted, `berth ${args.join(' ')}`);
    assert.doesNotMatch(run.err + run.out, /\bnan\b|\binf\b/i);
    return run;
}

function write(name: string, text: string): string {
    const path = join(home, name);
    writeFileSync(path, text);
    return path;
}

/** The table that begins with this heading: its rows, by heading. Columns begin where their headings begin. */
function table(out: string, first: string): Record<string, string>[] {
    const lines = out.split('\n');
    const at = lines.findIndex((line) => line.startsWith(first));
    assert.ok(at >= 0, `no table with ${first}:\n${out}`);
    const heads = [...lines[at].matchAll(/\S+(?: \S+)*/g)];
    const rows: Record<string, string>[] = [];
    for (const line of lines.slice(at + 1)) {
        if (line.trim() === '') {
            break;
        }
        rows.push(Object.fromEntries(heads.map((head, i) => [head[0], line.slice(head.index, heads[i + 1]?.index).trim()])));
    }
    return rows;
}

const issue = ['plan', '--model', 'llama-3.1-70b', '--chip', 'h100-sxm', '--chips', '8', '--isl', '1024', '--osl', '256', '--slo-tpot', '50ms'];
const round = (value: number, digits = 0): string => value.toFixed(digits);

test('both commands stand in the help, and say how they are used', async () => {
    const help = await good('help');
    for (const [command, options] of [['plan', ['model', 'chip', 'slo-tpot', 'objective', 'presets']], ['simulate', ['trace', 'fleet', 'strategy', 'scale-rate', 'svg']]] as const) {
        assert.match(help.out, new RegExp(`^ +${command} `, 'm'));
        const own = await good(command, '--help');
        assert.ok(options.every((option) => own.out.includes(`--${option}`)), own.out);
    }
});

/* ---- berth plan ---- */

test('a plan is a table that can be read, and its JSON says the same', async () => {
    const [text, data] = [await good(...issue), await good(...issue, '--json')];
    assert.doesNotMatch(text.out, /\x1b|\bnan\b|\binf\b/);
    for (const word of ['Llama-3.1-70B', 'H100-SXM', 'vllm', 'fp8', '1024', '256']) {
        assert.ok(text.out.includes(word), `${word} is missing in\n${text.out}`);
    }
    const rows = table(text.out, '#');
    assert.ok(rows.length > 0 && rows.length <= 10, text.out);
    assert.ok(data.json, data.out);
    const plans: any[] = data.json.plans;
    assert.equal(plans.length, rows.length);
    for (const [i, plan] of plans.entries()) {
        assert.ok(plan.tpot_ms <= 50 && plan.meets_slo, JSON.stringify(plan));
        assert.ok(plan.chips <= 8);
        assert.equal(rows[i].CHIPS, String(plan.chips));
        assert.equal(rows[i].BATCH, round(plan.concurrency));
        assert.equal(rows[i]['TTFT ms'], round(plan.ttft_ms));
        assert.ok(rows[i]['TPOT ms (p10-p90)'].startsWith(round(plan.tpot_ms, 1)), rows[i]['TPOT ms (p10-p90)']);
        assert.equal(rows[i]['TOK/s'], round(plan.output_tokens_per_s));
        assert.ok(plan.tpot_ms_band.p10 < plan.tpot_ms && plan.tpot_ms < plan.tpot_ms_band.p90);
    }
    assert.equal((await good(...issue, '--json')).out, data.out, 'the same question, the same answer');
});

test('more chips, more throughput; a higher SLO, fewer users; the ranking is by what was asked for', async () => {
    const plans = async (...more: string[]): Promise<any[]> => (await good(...issue, ...more, '--json', '--top', '1000')).json.plans;
    const best = (list: any[], member: string): number => Math.max(...list.map((plan) => plan[member]));
    const [eight, two, fast] = [await plans(), await plans('--chips', '2'), await plans('--slo-tpot', '20ms')];
    assert.ok(best(eight, 'output_tokens_per_s') > best(two, 'output_tokens_per_s'));
    assert.ok(best(eight, 'concurrency') > best(fast.filter((plan) => plan.meets_slo), 'concurrency'));
    for (const [objective, member, sign] of [['throughput', 'output_tokens_per_s', -1], ['latency', 'tpot_ms', 1]] as const) {
        const order = (await plans('--objective', objective)).map((plan) => sign * plan[member]);
        assert.deepEqual(order.toSorted((a, b) => a - b), order, objective);
    }
});

test('what does not fit is refused by the bound that it breaks, with the numbers', async () => {
    const args = ['plan', '--model', 'llama-3.1-405b', '--chip', 'h100-sxm', '--chips', '2', '--precision', 'bf16'];
    const run = await refused(1, /weights 8\d\d\.\d GB|weights 4\d\d\.\d GB/, ...args);
    assert.match(run.out, /No plan fits/);
    assert.match(run.out, /usable are [\d.]+ of 85\.9 GB/);
    const data = await refused(1, /"reason"/, ...args, '--json');
    assert.deepEqual(data.json.plans, []);
    assert.ok(data.json.refused.length > 0 && data.json.refused.every((one: any) => /\d GB/.test(one.reason)), data.out);
});

test('wrong words are refused by their name, with the nearest', async () => {
    const but = (name: string, value: string): string[] => [...issue, `--${name}`, value];
    await refused(2, /lama-3\.1-70b.*Llama-3\.1-70B/, ...but('model', 'lama-3.1-70b'));
    await refused(2, /h10-sxm.*H100-SXM/, ...but('chip', 'h10-sxm'));
    for (const [option, value] of [['precision', 'fp7'], ['engine', 'vlm'], ['objective', 'beauty'], ['slo-tpot', '50'], ['slo-ttft', '-1s'], ['chips', '0'], ['isl', '1e999'], ['osl', '0'],
        ['kv', '7'], ['prefix-hit', '101'], ['price', 'much']] as const) {
        await refused(2, new RegExp(option), ...but(option, value));
    }
    await refused(2, /--model/, 'plan', '--chip', 'h100-sxm');
    await refused(2, /nonsense/, 'plan', 'nonsense');
    await refused(2, /--nonsense/, ...issue, '--nonsense');
});

/* ---- berth plan check ---- */

test('plan check scores each workload, metric and split, and --rows has a line for each', async () => {
    // Columns in another order, some that nobody knows, CRLF, quotes, a model and a chip that nobody knows.
    const lines = [
        'split_tag,metric,value,id,colour,model,"chip",precision,chips,tp,isl,osl,concurrency,workload,framework,unit,note',
        'held,tpot_mean,14.5,a1,red,Llama-3.1-8B,H100-SXM,bf16,1,1,1024,256,16,closed_loop,vllm 0.10,ms,"said ""so"", twice"',
        'held,tpot_mean,9.1,a2,,meta-llama/Llama-3.1-8B-Instruct,NVIDIA H100 80GB HBM3,FP8,1,1,1024,256,8,closed_loop,vllm,ms,"two',
        'lines"',
        'held,ttft_mean,60,a3,,Llama-3.1-8B,H100-SXM,fp8,1,1,1024,256,8,closed_loop,vllm,ms,',
        'seen,tpot_mean,11,a4,,Nobody-7B,H100-SXM,fp8,1,1,1024,256,8,closed_loop,vllm,ms,',
        'seen,tpot_mean,11,"a,5",,Llama-3.1-8B,Toaster-9,fp8,1,1,1024,256,8,closed_loop,vllm,ms,',
        'seen,output_tokens_per_s,900,a6,,Llama-3.1-405B,RTX-4090,bf16,1,1,1024,256,,offline_max,vllm,tok/s,',
    ];
    const file = write('measured.csv', lines.join('\r\n') + '\r\n');
    const rows = join(home, 'rows.csv');
    const [text, data] = [await good('plan', 'check', file, '--rows', rows), await good('plan', 'check', file, '--json')];
    const shown = table(text.out, 'WORKLOAD');
    const by = (workload: string, metric: string, split: string): Record<string, string> => {
        const found = shown.filter((row) => row.WORKLOAD === workload && row.METRIC === metric && row.SPLIT === split);
        assert.equal(found.length, 1, `${workload} ${metric} ${split} in\n${text.out}`);
        return found[0];
    };
    assert.equal(by('closed_loop', 'tpot_mean', 'held').ROWS, '2');
    assert.equal(by('closed_loop', 'ttft_mean', 'held').ROWS, '1');
    assert.equal(by('closed_loop', 'tpot_mean', 'seen').ROWS, '2');
    assert.equal(by('offline_max', 'output_tokens_per_s', 'seen').ROWS, '1');
    assert.equal(by('all', 'all', 'all').ROWS, '6');
    assert.equal(by('closed_loop', 'tpot_mean', 'held').PREDICTED, '2');
    assert.equal(by('closed_loop', 'tpot_mean', 'seen').PREDICTED, '0');
    assert.equal(by('closed_loop', 'tpot_mean', 'seen')['WITHIN 20%'], '0.0%', 'what is not predicted is a miss');

    const written = readFileSync(rows, 'utf8').split('\n');
    assert.equal(written[0], 'id,metric,value,predicted,p10,p90,reason');
    assert.equal(written.length, 8, 'a line for each row, and the end of the last');
    const cells = (line: string): string[] => [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((cell) => cell[1]).slice(0, 7);
    const [a1, a2, a3, a4, a5, a6] = written.slice(1, 7).map(cells);
    assert.deepEqual([a1[0], a1[1], Number(a1[2])], ['a1', 'tpot_mean', 14.5]);
    for (const row of [a1, a2, a3]) {
        const [predicted, p10, p90] = row.slice(3, 6).map(Number);
        assert.ok(p10 > 0 && p10 < predicted && predicted < p90, row.join());
        assert.equal(row[6], '');
    }
    assert.deepEqual(a4.slice(3, 6), ['', '', '']);
    assert.match(a4[6], /Nobody-7B/);
    assert.equal(a5[0], '"a,5"');
    assert.match(a5[6], /Toaster-9/);
    assert.equal(a6[3], '');
    assert.match(a6[6], /does not fit|GB/);

    // The table again, from the rows themselves.
    const ape = [a1, a2].map((row) => Math.abs(Number(row[3]) / Number(row[2]) - 1));
    assert.equal(by('closed_loop', 'tpot_mean', 'held').MEAN, `${((100 * (ape[0] + ape[1])) / 2).toFixed(1)}%`);
    const one = data.json.find((row: any) => row.workload === 'closed_loop' && row.metric === 'ttft_mean' && row.split_tag === 'held');
    assert.ok(Math.abs(one.median_ape - Math.abs(Number(a3[3]) / 60 - 1)) < 1e-4, JSON.stringify(one));
});

test('plan check says what is wrong with a file', async () => {
    await refused(1, /absent\.csv/, 'plan', 'check', join(home, 'absent.csv'));
    await refused(2, /model|column/, 'plan', 'check', write('bare.csv', 'id,colour\n1,red\n'));
    await refused(2, /./, 'plan', 'check', write('empty.csv', ''));
});

/* ---- what users bring ---- */

const ours = join(root, 'examples/presets.yaml');

test('chips, models and topologies of a file are planned with by their names', async () => {
    const text = readFileSync(ours, 'utf8');
    const names = (section: string): string[] => [...new RegExp(`^${section}:\\n((?:[ #].*\\n|\\n)+)`, 'm').exec(text + '\n')![1].matchAll(/^ {2}([\w.-]+):/gm)].map((name) => name[1]);
    const [chips, models, topologies] = ['chips', 'models', 'topologies'].map(names);
    assert.ok(chips.length && models.length && topologies.length);
    for (const chip of chips) {
        for (const model of models) {
            const run = await good('plan', '--presets', ours, '--model', model, '--chip', chip, '--chips', '16', '--precision', 'bf16');
            assert.ok(run.out.startsWith(`${model} (bf16`) && run.out.includes(` on ${chip} `), run.out);
        }
    }
    const [wide, narrow] = await Promise.all([['--topology', topologies[0]], []].map((more) =>
        good('plan', '--presets', ours, '--model', models[0], '--chip', chips[0], '--plan', 'tp4', '--concurrency', '8', '--json', ...more)));
    assert.ok(wide.json.plans[0].tpot_ms > 0 && narrow.json.plans[0].tpot_ms > 0);
    const list = await good('plan', 'chips', '--presets', ours);
    for (const chip of [...chips, 'H100-SXM', 'MI300X']) {
        assert.match(list.out, new RegExp(`^${chip} `, 'm'));
    }
    assert.match((await good('plan', 'models', '--presets', ours)).out, new RegExp(`^${models[0]} .*^Llama-3\\.1-70B `, 'ms'));
    // What differs, differs.
    const half = write('half.yaml', 'chips:\n  half: { preset: h100-sxm, bandwidth_gbps: 1675 }\n');
    const [whole, slow] = await Promise.all(['h100-sxm', 'half'].map((chip) =>
        good('plan', '--presets', half, '--model', 'llama-3.1-8b', '--chip', chip, '--plan', 'tp1', '--concurrency', '1', '--json')));
    const ratio = slow.json.plans[0].tpot_ms / whole.json.plans[0].tpot_ms;
    assert.ok(ratio > 1.4 && ratio < 2.1, `half the bandwidth: ${ratio} times`);
});

test('a bad file of presets is refused by its member', async () => {
    for (const [text, wanted] of [
        ['chips:\n  a: { bf16_tflops: lots, memory_gb: 1, bandwidth_gbps: 1 }\n', /bad\.yaml.*chips\.a\.bf16_tflops/s],
        ['models:\n  a: { preset: llama-3.1-8b, layers: 0 }\n', /bad\.yaml.*models\.a\.layers/s],
        ['chips: [\n', /bad\.yaml/],
    ] as const) {
        await refused(2, wanted, ...issue, '--presets', write('bad.yaml', text));
    }
    await refused(2, /absent\.yaml/, ...issue, '--presets', join(home, 'absent.yaml'));
});

test('a model is read from its config.json', async () => {
    const dir = join(home, 'a-model');
    mkdirSync(dir);
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3', torch_dtype: 'bfloat16', num_hidden_layers: 36, hidden_size: 4096,
        intermediate_size: 12288, vocab_size: 151936, num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, tie_word_embeddings: false }));
    const ask = (model: string): string[] => ['plan', '--model', model, '--chip', 'l40s', '--plan', 'tp1', '--concurrency', '4', '--precision', 'bf16', '--json'];
    const [file, folder, known] = await Promise.all([join(dir, 'config.json'), dir, 'qwen3-8b'].map((model) => good(...ask(model))));
    assert.deepEqual(file.json.plans, folder.json.plans);
    assert.equal(file.json.plans[0].memory.weights_gb, known.json.plans[0].memory.weights_gb);
    assert.ok(Math.abs(file.json.plans[0].tpot_ms / known.json.plans[0].tpot_ms - 1) < 0.05, `${file.json.plans[0].tpot_ms}, known: ${known.json.plans[0].tpot_ms}`);
    await refused(2, /--model.*layers.*missing/s, ...ask(write('empty-config.json', '{"model_type": "llama"}')));
});

test('a model is read from its GGUF', { skip: !existsSync(storiesGguf) }, async () => {
    copyFileSync(storiesGguf, join(home, 'tiny.gguf'));
    const run = await good('plan', '--model', join(home, 'tiny.gguf'), '--chip', 'rtx-4090', '--chips', '1', '--isl', '128', '--osl', '64', '--engine', 'llama.cpp', '--json');
    const { question, plans } = run.json;
    assert.deepEqual([question.model.layers, question.model.hidden, question.model.heads, question.model.kv_heads, question.model.vocab], [5, 64, 8, 4, 512]);
    assert.ok(plans[0].memory.weights_gb > 0 && plans[0].memory.weights_gb < 0.01, JSON.stringify(plans[0].memory));
    await refused(2, /--model/, 'plan', '--model', write('broken.gguf', 'GGUF'), '--chip', 'rtx-4090');
});

test('a chip is set right by what was measured on it', async () => {
    const plan = async (...more: string[]): Promise<any> =>
        (await good('plan', '--model', 'llama-3.1-8b', '--plan', 'tp1', '--precision', 'fp8', '--concurrency', '8', '--json', ...more)).json.plans[0];
    const before = await plan('--chip', 'l40s');
    const row = (id: number, metric: string, value: number): string => `${id},closed_loop,llama-3.1-8b,fp8,l40s,1,1024,256,8,vllm,${metric},${value},mine`;
    const file = write('slower.csv', ['id,workload,model,precision,chip,tp,isl,osl,concurrency,framework,metric,value,split_tag',
        row(1, 'tpot_mean', 1.3 * before.tpot_ms), row(2, 'ttft_mean', 1.5 * before.ttft_ms)].join('\n') + '\n');
    const written = join(home, 'calibrated.yaml');
    await good('plan', 'calibrate', file, '--chip', 'l40s', '--name', 'my-l40s', '--out', written);
    const behind = await plan('--presets', written, '--chip', 'my-l40s');
    assert.ok(Math.abs(behind.tpot_ms / before.tpot_ms - 1.3) < 0.1, `${before.tpot_ms} became ${behind.tpot_ms}`);
    assert.ok(Math.abs(behind.ttft_ms / before.ttft_ms - 1.5) < 0.2, `${before.ttft_ms} became ${behind.ttft_ms}`);
});

test('completion knows the chips, the models and the strategies', async () => {
    const words = async (...line: string[]): Promise<string[]> => (await good('complete', ...line)).out.split('\n').filter(Boolean).map((one) => one.split('\t')[0]);
    assert.deepEqual(await words('simu'), ['simulate']);
    assert.ok((await words('plan', '')).includes('check'));
    assert.ok((await words('plan', '--slo')).includes('--slo-tpot'));
    assert.ok((await words('plan', '--chip', 'h1')).includes('h100-sxm'));
    assert.ok((await words('plan', '--chip', 'H1')).includes('H100-SXM'));
    assert.ok((await words('plan', '--model', 'llama-3.1')).includes('llama-3.1-70b'));
    assert.deepEqual(await words('simulate', '--strategy', 'round'), ['round_robin']);
    assert.deepEqual(await words('plan', '--isl', ''), [], 'nobody types "N"');
});

/* ---- berth simulate ---- */

const strategies = ['least_outstanding_tokens', 'least_connections', 'response_time', 'power_of_two', 'round_robin', 'weighted', 'random', 'shortest_queue',
    'weighted_wait', 'probabilistic', 'earliest_completion', 'prefix_affinity', 'session_affinity'];

/** Sixty requests, two a second, of two models' names or of none; the lengths differ. */
const trace = (models: string[] = []): string =>
    ['arrival_s,input_tokens,output_tokens' + (models.length ? ',model' : ''),
        ...Array.from({ length: 60 }, (_, i) => [(i / 2).toFixed(3), 200 + (i * 97) % 1500, 20 + (i * 31) % 150, ...(models.length ? [models[i % models.length]] : [])].join())].join('\n') + '\n';

const small = (): string[] => ['simulate', '--fleet', write('small.yaml', [
    'devices: [{ chip: h100-sxm, count: 4 }]',
    'models:',
    '  - { name: chat, model: llama-3.1-8b, precision: fp8, replicas: 4 }',
    'slo: { ttft: 500ms, tpot: 30ms }', ''].join('\n')), '--trace', write('small.csv', trace())];

/** Well-formed XML: one root, every element is closed, attributes are quoted, no stray & or <. */
function assertXml(text: string): void {
    const open: string[] = [];
    let roots = 0;
    const rest = text.replace(/^<\?xml [^?]*\?>\s*/, '').replace(/<!--(?:(?!--)[^])*-->/g, '');
    for (const [piece] of rest.matchAll(/<[^>]*>|[^<]+/g)) {
        const tag = /^<(\/?)([A-Za-z][\w:.-]*)((?:\s+[\w:.-]+="[^"<]*")*)\s*(\/?)>$/.exec(piece);
        if (!piece.startsWith('<')) {
            assert.ok(open.length > 0 || piece.trim() === '', `text outside of the root: ${piece}`);
            assert.doesNotMatch(piece, /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/, piece);
            continue;
        }
        assert.ok(tag, `no good element: ${piece}`);
        assert.doesNotMatch(tag[3], /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/, piece);
        if (tag[1]) {
            assert.equal(open.pop(), tag[2], piece);
        } else {
            roots += open.length === 0 ? 1 : 0;
            if (!tag[4]) {
                open.push(tag[2]);
            }
        }
    }
    assert.deepEqual([open, roots], [[], 1]);
}

test('what is well-formed is told from what is not', () => {
    assertXml('<svg a="1"><text>a &lt; b</text><path d="M 0 0"/></svg>');
    for (const bad of ['<svg>', '<svg></g></svg>', '<svg a=1></svg>', '<svg>a & b</svg>', '<svg/><svg/>', 'x<svg/>']) {
        assert.throws(() => assertXml(bad), bad);
    }
});

test('a trace on a fleet: a report that can be read, and its JSON says the same', async () => {
    const [text, data] = [await good(...small()), await good(...small(), '--json')];
    assert.doesNotMatch(text.out, /\x1b|\bnan\b|\binf\b/);
    const all = data.json.all;
    assert.deepEqual([all.requests, all.answered, all.refused], [60, 60, 0]);
    assert.match(text.out, /60 at .* 60 answered, 0 refused/);
    assert.equal(all.output_tokens, Array.from({ length: 60 }, (_, i) => 20 + (i * 31) % 150).reduce((a, b) => a + b));
    assert.equal(all.prompt_tokens, Array.from({ length: 60 }, (_, i) => 200 + (i * 97) % 1500).reduce((a, b) => a + b));
    for (const spread of [all.ttft_s, all.tpot_s, all.e2e_s]) {
        assert.ok(spread.p50 > 0 && spread.p50 <= spread.p90 && spread.p90 <= spread.p95 && spread.p95 <= spread.p99 && spread.p99 <= spread['p99.9'] && spread['p99.9'] <= spread.max, JSON.stringify(spread));
    }
    for (const word of ['least_outstanding_tokens', 'TTFT', 'TPOT', 'E2E', 'SLO', 'goodput', 'swaps', 'preemptions']) {
        assert.ok(text.out.includes(word), `${word} is missing in\n${text.out}`);
    }
    const [model] = table(text.out, 'MODEL');
    assert.deepEqual([model.MODEL, model.REQUESTS], ['chat', '60']);
    assert.equal(model['P99 TTFT'], `${all.ttft_s.p99.toFixed(3)} s`);
});

test('the same seed gives the same bytes; another one gives others where something is random', async () => {
    const made = ['simulate', small()[1], small()[2], '--trace', 'poisson:rate=20,isl=800,osl=100,requests=400', '--strategy', 'power_of_two', '--json'];
    const runs = await Promise.all(['7', '7', '8'].map((seed) => good(...made, '--seed', seed)));
    assert.equal(runs[0].out, runs[1].out);
    assert.notEqual(runs[0].out, runs[2].out);
});

test('the example fleets serve, and the same twice', async () => {
    const fleets = readdirSync(join(root, 'examples')).filter((name) => /^fleet.*\.yaml$/.test(name));
    assert.ok(fleets.includes('fleet.yaml'));
    for (const name of fleets) {
        const ask = ['simulate', '--fleet', join(root, 'examples', name), '--trace', write('small.csv', trace()), '--json'];
        const [first, second] = [await good(...ask), await good(...ask)];
        assert.equal(first.out, second.out, name);
        assert.deepEqual([first.json.all.requests, first.json.all.answered], [60, 60], name);
    }
});

test('all strategies in one table, at several rates, and a picture of them', async () => {
    const one = join(home, 'one.svg'), many = join(home, 'many.svg');
    const all = await good(...small(), '--strategy', 'all', '--scale-rate', '1,4', '--svg', many);
    const rows = table(all.out, 'STRATEGY');
    assert.deepEqual([...new Set(rows.map((row) => row.STRATEGY))].toSorted(), strategies.toSorted());
    assert.equal(rows.length, 2 * strategies.length);
    const rates = [...new Set(rows.map((row) => Number(row['RATE/S'])))];
    assert.equal(rates.length, 2);
    assert.ok(Math.abs(rates[1] / rates[0] - 4) < 0.3, rates.join());
    await good(...small(), '--svg', one);
    for (const file of [one, many]) {
        const text = readFileSync(file, 'utf8');
        assert.match(text, /<svg\b/);
        assertXml(text);
    }
    for (const name of strategies) {
        assert.ok(readFileSync(many, 'utf8').includes(name), `${name} is not in the picture`);
    }
    const data = await good(...small(), '--strategy', 'round_robin,random', '--json');
    assert.deepEqual(data.json.runs.map((run: any) => run.strategy), ['round_robin', 'random']);
});

test('models that do not fit together are swapped for each other', async () => {
    const fleet = write('swap.yaml', [
        'devices: [{ chip: h100-sxm, count: 1 }]',
        'models:',
        '  - { name: north, model: llama-3.1-8b, precision: bf16, memory_share: 0.6, load_gbps: 20, start: 1s, autostart: false }',
        '  - { name: south, model: llama-3.1-8b, precision: bf16, memory_share: 0.6, load_gbps: 20, start: 1s, autostart: false }',
        'options: { placement.min_residency: 0s, placement.return_after: 0s, placement.swap_wait: 1s }', ''].join('\n'));
    const run = await good('simulate', '--fleet', fleet, '--trace', write('swap.csv', trace(['north', 'south'])), '--json');
    const { all, models } = run.json;
    assert.equal(all.answered + all.refused, 60);
    assert.ok(all.swaps >= 1 && all.loads >= 2, JSON.stringify(all));
    assert.deepEqual([models.north.requests, models.south.requests], [30, 30]);
});

test('what is wrong with a question to the simulator is said by its name', async () => {
    const [, fleetOption, fleet, traceOption, file] = small();
    const ask = (...more: string[]): string[] => [...small(), ...more];
    await refused(2, /raund_robin.*round_robin/s, ...ask('--strategy', 'raund_robin'));
    for (const [option, value] of [['scale-rate', '0'], ['scale-rate', 'fast'], ['scale-rate', '1..2'], ['seed', 'x'], ['slo-ttft', 'soon'], ['requests', '-1']] as const) {
        await refused(2, new RegExp(option), ...ask('--' + option, value));
    }
    await refused(2, /--fleet/, 'simulate', traceOption, file);
    await refused(2, /--trace/, 'simulate', fleetOption, fleet);
    await refused(2, /absent\.csv/, 'simulate', fleetOption, fleet, traceOption, join(home, 'absent.csv'));
    await refused(2, /absent\.yaml/, 'simulate', '--fleet', join(home, 'absent.yaml'), traceOption, file);
    await refused(2, /bad\.csv, line 3: input_tokens/, 'simulate', fleetOption, fleet, traceOption, write('bad.csv', 'arrival_s,input_tokens,output_tokens\n0,10,10\n1,many,10\n'));
    for (const [text, wanted] of [
        ['devices: [{ chip: h10-sxm, count: 4 }]\nmodels: [{ name: a, model: llama-3.1-8b }]\n', /wrong\.yaml.*devices\.0\.chip/s],
        ['devices: [{ chip: h100-sxm }]\nmodels: [{ name: a, model: llama-3.1-8b, replica: 2 }]\n', /wrong\.yaml.*models\.0\.replica/s],
        ['devices: [{ chip: h100-sxm }]\n', /wrong\.yaml.*models/s],
        ['devices: [{ chip: h100-sxm }]\nmodels: [{ name: a, model: llama-3.1-8b }]\noptions: { gateway.nonsense: 1 }\n', /wrong\.yaml.*gateway\.nonsense/s],
        ['devices: [\n', /wrong\.yaml/],
    ] as const) {
        await refused(2, wanted, 'simulate', '--fleet', write('wrong.yaml', text), traceOption, file);
    }
});

test('an interrupt ends a long simulation at once, and leaves nothing behind', async () => {
    const child = spawn(berthBin, ['simulate', small()[1], small()[2], '--trace', 'poisson:rate=40,isl=1000,osl=300,requests=1000000'], { env: environment, cwd: here });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    const ended = new Promise<[number | null, NodeJS.Signals | null]>((done) => child.on('exit', (code, signal) => done([code, signal])));
    try {
        await until('its private folder', () => readdirSync(temporary).length > 0, 30_000, 5);
        child.kill('SIGINT');
    } catch (error) {
        child.kill('SIGKILL');
        throw error;
    }
    const [code, signal] = await ended;
    assert.ok(code === 130 || signal === 'SIGINT', `it ended with ${code}, ${signal}: ${said}`);
    assert.deepEqual(readdirSync(temporary), []);
});
