// SPDX-License-Identifier: Apache-2.0
// The manual is true: what its pages show is typed into a shell, against a real daemon and a real llama-server, and prints what they show;
// its configurations are good ones; its tables are the program's; and both languages say it all.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { blocks, commands, isTyped, languages, manual, matches, pages, read, Reader } from './lib/manual.ts';
import { berthBin, root } from './lib/paths.ts';

const chapters = ['configuration.md', 'dashboard.md', 'dispatch.md', 'gateway.md', 'installation.md', 'models.md', 'placement.md', 'planner.md', 'simulator.md', 'tasks.md'];

test('what is shown is compared as it should be', () => {
    assert.ok(matches('a ... c\n', 'a b c'));
    assert.ok(matches('MODEL  PID\ntiny  ...\n', 'MODEL PID\ntiny   123  ready'));
    assert.ok(matches('a\n...\nz', 'a\n1\n2\nz'));
    assert.ok(matches('a\n...', 'a\nb\nc'));
    assert.ok(!matches('a', 'a\nb'));
    assert.ok(matches('a', 'a\nb', true));
    assert.ok(!matches('', 'something'));
    assert.ok(!matches('{"a":1}', '{"a":2}'));
    const about = (shown: string, printed: string): boolean => matches(shown, printed, false, true);
    assert.ok(about('tp4 x2  831 tok/s... 12.5 ms', 'tp4 x2 790 tok/s, in all 13.1 ms'));
    assert.ok(!about('831 tok/s', '500 tok/s'));
    assert.ok(!about('831 tok/s', '831 req/s'));
    assert.ok(!matches('831 tok/s', '790 tok/s'));
});

test('both languages have the same pages, headings and blocks', () => {
    assert.deepEqual(languages, ['en', 'zh']);
    assert.deepEqual(pages.filter((page) => chapters.includes(page)), chapters);
    for (const page of pages) {
        const [en, zh] = languages.map((language) => read(language, page));
        const headings = (text: string): string[] => text.replace(/^```[^]*?^```/gm, '').match(/^#+ /gm) ?? [];
        assert.deepEqual(headings(zh), headings(en), `${page}: the headings`);
        const kinds = (text: string): string[] => blocks(text).map((block) => block.kind);
        assert.deepEqual(kinds(zh), kinds(en), `${page}: the kinds of blocks`);
        const typed = (text: string) => blocks(text).filter(isTyped).map((block) => block.text);
        assert.deepEqual(typed(zh), typed(en), `${page}: what is typed and shown`);
        const rows = (text: string): number => (text.match(/^\|/gm) ?? []).length;
        assert.equal(rows(zh), rows(en), `${page}: the rows of its tables`);
    }
});

test('every link leads somewhere', () => {
    const files = [...languages.flatMap((language) => pages.map((page) => join(manual, language, page))), join(root, 'README.md'), join(root, 'README.zh-CN.md')];
    for (const file of files) {
        const text = readFileSync(file, 'utf8');
        for (const [, target] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
            assert.ok(existsSync(join(dirname(file), target)), `${file}: ${target}`);
        }
    }
});

test('the table of options is the one of the program', () => {
    // What database.* and redis.* are for is told in a section of its own.
    const rows: any[] = JSON.parse(execFileSync(berthBin, ['config', 'sample', '--json'], { encoding: 'utf8' })).filter((row: any) => !/^(database|redis)\./.test(row.name));
    const cell = (text: string): string => text.replaceAll('|', '\\|');
    const table = (language: string, page: string): string[][] =>
        read(language, page).split('\n').filter((line) => /^\| `\w+\.\w+` \|/.test(line)).map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((text) => text.trim()));
    const wanted = rows.map((row) => [`\`${row.name}\``, row.default === '' ? '' : `\`${row.default}\``,
        row.words ? row.words.split(' ').map((word: string) => `\`${word}\``).join(' ') : row.range ?? '', row.reload ? 'reload' : 'restart', cell(row.help)]);
    const shown = wanted.map((row) => `| ${row.join(' | ')} |`).join('\n');
    assert.deepEqual(table('en', 'configuration.md'), wanted, `the table is to be:\n${shown}\n`);
    // The sentences are translated; the rest is the same.
    assert.deepEqual(table('zh', 'configuration.md').map((row) => row.slice(0, 4)), wanted.map((row) => row.slice(0, 4)), 'the Chinese table');
});

test('the tables of the planner and the simulator have every option of their commands', () => {
    for (const [command, page] of [['plan', 'planner.md'], ['simulate', 'simulator.md']]) {
        const { options } = JSON.parse(execFileSync(berthBin, ['help', command, '--json'], { encoding: 'utf8' }));
        for (const language of languages) {
            const rows = read(language, page).split('\n').filter((line) => line.startsWith('| `--')).join('\n');
            assert.deepEqual(options.map((one: any) => one.name).filter((name: string) => !new RegExp(`--${name}\\b(?!-)`).test(rows)), [], `${language}/${page}`);
        }
    }
});

test('every configuration that is shown is a good one', () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-manual-yaml-'));
    const file = join(dir, 'berth.yaml');
    const files = [...languages.flatMap((language) => pages.map((page) => join(manual, language, page))), join(root, 'README.md'), join(root, 'README.zh-CN.md')];
    for (const shown of files) {
        for (const block of blocks(readFileSync(shown, 'utf8')).filter((one) => one.kind === 'yaml')) {
            writeFileSync(file, block.text);
            const run = spawnSync(berthBin, ['config', 'check', file], { encoding: 'utf8', env: { PATH: process.env.PATH, EXAMPLE_API_KEY: 'x', MODELS: '/models' } });
            assert.equal(run.status, 0, `${shown}, line ${block.line}: ${run.stdout}${run.stderr}`);
            assert.equal(run.stderr, '', `${shown}, line ${block.line}`);
        }
    }
    rmSync(dir, { recursive: true });
});

for (const page of pages) {
    test(`${page} does what it shows`, async () => {
        const all = blocks(read('en', page)).filter(isTyped).flatMap(commands);
        const reader = await Reader.sitDown();
        let left: number[];
        try {
            for (const [i, command] of all.entries()) {
                await reader.run(command, /^echo \$\?$/.test(all[i + 1]?.text ?? ''));
            }
        } finally {
            left = await reader.leave();
        }
        assert.deepEqual(left, [], 'engines left behind');
    });
}
