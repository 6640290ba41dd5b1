// SPDX-License-Identifier: Apache-2.0
// Makes src/api/schema.d.ts of the OpenAPI document that the daemon prints (BERTH_BIN, ../build/berth). An object whose members the
// document does not tell may have any.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';

const berth = process.env.BERTH_BIN ?? new URL('../../build/berth', import.meta.url).pathname;

function open(schema) {
    const untold = [schema?.type].flat().includes('object') && !schema.properties && schema.additionalProperties === undefined;
    return untold ? { ...schema, additionalProperties: true } : schema;
}

const text = execFileSync(berth, ['openapi'], { maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' });
const types = astToString(await openapiTS(JSON.parse(text, (_name, value) => open(value)), { defaultNonNullable: false }));
writeFileSync(new URL('../src/api/schema.d.ts', import.meta.url), types);
