// SPDX-License-Identifier: Apache-2.0
// A real dockerd of the tests' own: started as root in a mount namespace of its own, below a directory of its own, and
// ended by its pid. It changes no rule of the network: containers use the host's. It needs Debian's docker.io.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Answer, ask } from './http.ts';
import { kill } from './proc.ts';
import { until } from './wait.ts';

// runc wants a root that is a mount point, which that of a chroot is not, and control groups, which may not be mounted.
const script = `
set -e
R=/
if mountpoint -q /; then
    mount --make-rprivate /
else
    R=$1/root; mkdir -p $R; mount --rbind / $R; mount --make-rprivate $R
fi
if [ ! -e $R/sys/fs/cgroup/cgroup.controllers ] && [ ! -d $R/sys/fs/cgroup/devices ]; then
    if grep -q '^[1-9]' /proc/self/cgroup; then
        mount -t tmpfs -o mode=755 cgroup $R/sys/fs/cgroup
        while IFS=: read -r number controllers path; do
            [ -n "$controllers" ] || continue
            mkdir -p "$R/sys/fs/cgroup/\${controllers#name=}"
            mount -t cgroup -o "$controllers" cgroup "$R/sys/fs/cgroup/\${controllers#name=}"
        done </proc/self/cgroup
    else
        mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
    fi
fi
exec chroot $R dockerd -H unix://$1/docker.sock --data-root $1/data --exec-root $1/exec --pidfile $1/docker.pid \\
    --oom-score-adjust 0 --default-ulimit nofile=1024:16384 --storage-driver vfs --bridge=none \\
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --shutdown-timeout=2
`;

/** What the driver for NVIDIA's cards would find: it is asked for them, and says that all is well. */
const hook = `#!/bin/sh
cat >>"$HOOK_RECORD"
`;

export interface Container {
    Id: string;
    Name: string;
    Path: string;
    Args: string[];
    State: { Running: boolean; Pid: number; ExitCode: number; OOMKilled: boolean; StartedAt: string };
    Config: { Image: string; Cmd: string[]; Env: string[]; Labels: Record<string, string> };
    HostConfig: Record<string, any>;
}

/** Why none can be started here, or undefined. */
export function cannotRun(): string | undefined {
    if (process.getuid!() !== 0) {
        return 'a container engine can be started by root only';
    }
    return undefined;
}

export class Dockerd {
    readonly dir = mkdtempSync(join(tmpdir(), 'berth-docker-'));
    readonly socket = join(this.dir, 'docker.sock');
    readonly logFile = join(this.dir, 'dockerd.log');
    readonly hookRecord = join(this.dir, 'hook.json');
    private child: ChildProcess | undefined;
    private exited: Promise<void> = Promise.resolve();

    static async start(): Promise<Dockerd> {
        const engine = new Dockerd();
        const bin = join(engine.dir, 'bin');
        mkdirSync(bin);
        writeFileSync(join(bin, 'nvidia-container-runtime-hook'), hook);
        chmodSync(join(bin, 'nvidia-container-runtime-hook'), 0o755);
        process.on('exit', () => engine.reap());
        await engine.launch();
        return engine;
    }

    async launch(): Promise<void> {
        const log = openSync(this.logFile, 'a');
        const child = spawn('unshare', ['--mount', '--propagation', 'unchanged', 'bash', '-c', script, 'dockerd', this.dir], {
            stdio: ['ignore', log, log],
            env: { ...process.env, PATH: `${join(this.dir, 'bin')}:/usr/sbin:/sbin:${process.env.PATH}`, HOOK_RECORD: this.hookRecord },
        });
        closeSync(log);
        child.unref();
        this.child = child;
        this.exited = new Promise((done) => {
            child.once('error', () => done());
            child.once('exit', () => done());
        });
        await until('dockerd to answer', async () => {
            if (child.exitCode !== null || child.signalCode !== null) {
                throw new Error('it left');
            }
            return existsSync(this.socket) && (await this.api('GET', '/_ping')).status === 200;
        }, 30_000, 50).catch((error) => {
            throw new Error(`${error.message}\n--- log of dockerd ---\n${this.log().slice(-4000)}`);
        });
    }

    log(): string {
        return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
    }

    api(method: string, path: string, body?: unknown): Promise<Answer> {
        return ask({ socketPath: this.socket }, { method, path, body, timeoutMs: 60_000 });
    }

    /** Makes an image of a directory. */
    async image(name: string, rootfs: string, ...changes: string[]): Promise<void> {
        const [repo, tag] = name.split(':');
        const query = new URLSearchParams({ fromSrc: '-', repo, tag });
        changes.forEach((change) => query.append('changes', change));
        const tar = spawn('tar', ['-C', rootfs, '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
        const text = await new Promise<string>((done, fail) => {
            const request = http.request({ socketPath: this.socket, method: 'POST', path: `/images/create?${query}`, headers: { 'content-type': 'application/x-tar' } }, (response) => {
                let text = '';
                response.on('data', (part) => (text += part));
                response.on('end', () => done(text));
            });
            request.on('error', fail);
            tar.stdout.pipe(request);
        });
        if ((await this.api('GET', `/images/${name}/json`)).status !== 200) {
            throw new Error(`no image came of it: ${text}`);
        }
    }

    /** All of them, or those of this data directory, whether they run or not. */
    async containers(dataDirId?: string): Promise<Container[]> {
        const list = (await this.api('GET', '/containers/json?all=1')).json as Array<{ Id: string }>;
        const all = await Promise.all(list.map(({ Id }) => this.api('GET', `/containers/${Id}/json`)));
        return all.filter(({ status, json }) => status === 200 && (!dataDirId || json.Config.Labels['berth.data'] === dataDirId)).map(({ json }) => json);
    }

    async only(dataDirId: string): Promise<Container> {
        const all = await this.containers(dataDirId);
        if (all.length !== 1) {
            throw new Error(`there are ${all.length} containers: ${all.map(({ Name }) => Name)}`);
        }
        return all[0];
    }

    /** It ends its containers, and itself. */
    async end(): Promise<void> {
        kill(this.child!.pid!, 'SIGTERM');
        this.child!.ref();
        await this.exited;
    }

    async stop(): Promise<void> {
        await this.end();
        rmSync(this.dir, { recursive: true, force: true });
    }

    private reap(): void {
        if (this.child && this.child.exitCode === null && this.child.signalCode === null) {
            kill(this.child.pid!, 'SIGTERM'); // it ends its containers
        }
    }
}

/** A root file system that holds these programs at their own paths, with what they are linked to and the files named. */
export function rootfs(dir: string, programs: string[], files: string[] = []): string {
    const copies = new Set<string>(files);
    for (const program of programs) {
        copies.add(program);
        for (const [path] of execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(?<=\s)\/\S+/g)) {
            copies.add(path);
        }
    }
    mkdirSync(join(dir, 'tmp'), { recursive: true });
    execFileSync('cp', ['--parents', '--dereference', '--recursive', ...copies, dir]);
    return dir;
}

