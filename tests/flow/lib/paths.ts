// SPDX-License-Identifier: Apache-2.0
// Where the tests find what they drive. Every path can be given by the environment; the defaults are the build's.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../../..');

function given(name: string, fallback: string): string {
    return resolve(process.env[name] || join(root, fallback));
}

export const berthBin = given('BERTH_BIN', 'build/berth');
export const llamaServer = given('LLAMA_SERVER', 'build/tools/llama/bin/llama-server');
export const quickstartGguf = given('QUICKSTART_GGUF', 'build/tools/quickstart.gguf');
export const loopGguf = given('LOOP_GGUF', 'build/tools/loop.gguf');
export const storiesGguf = given('STORIES_GGUF', '../shared/models/stories260K.gguf');

function newer(file: string, than: string): boolean {
    return existsSync(file) && statSync(file).mtimeMs > statSync(than).mtimeMs;
}

/** A C program of tests/, as meson built it beside berth, or compiled here when it was not. */
export function program(dir: string, name: string, files: string[], libraries: string[] = []): string {
    files = files.map((file) => join(root, dir, file));
    const newest = files.reduce((a, b) => (newer(a, b) ? a : b));
    const build = existsSync(berthBin) ? dirname(realpathSync(berthBin)) : join(root, 'build');
    const built = [join(build, dir, name), join(build, 'release', dir, name)];
    for (const path of built) {
        if (newer(path, newest)) {
            return path;
        }
    }
    const own = join(root, 'build/flow', name);
    if (!newer(own, newest)) {
        mkdirSync(dirname(own), { recursive: true });
        execFileSync('cc', ['-std=gnu11', '-O2', '-g', '-D_GNU_SOURCE', '-o', own, ...files, ...libraries]);
    }
    return own;
}

export const scriptedEngine = program('tests/flow/engines', 'scripted-engine', ['scripted_engine.c', 'scripted_behaviour.c'], ['-ljansson']);

/** A build with AddressSanitizer needs several times the memory; bounds on it are widened. */
export const sanitized = existsSync(berthBin) && readFileSync(berthBin).includes('__asan_init');
