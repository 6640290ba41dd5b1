// SPDX-License-Identifier: Apache-2.0
// The page of /docs: shows /openapi.json by door, and sends what is typed into a route's form. Text is only ever put in as text.
'use strict';

let schemas = {};

/** An element with properties, attributes ("data-x", "aria-x") and children. */
function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name.includes('-')) {
            element.setAttribute(name, value);
        } else {
            element[name] = value;
        }
    }
    element.append(...children);
    return element;
}

function resolve(schema) {
    const name = schema?.$ref?.split('/').pop();
    return name ? schemas[name] ?? {} : schema ?? {};
}

/** An example of what a schema describes, as far as it says. */
function example(schema, depth = 0) {
    const one = resolve(schema);
    const type = Array.isArray(one.type) ? one.type[0] : one.type;
    if ('const' in one) {
        return one.const;
    }
    if (one.examples ?? one.enum) {
        return (one.examples ?? one.enum)[0];
    }
    if (one.oneOf) {
        return example(one.oneOf[0], depth);
    }
    if (type === 'array') {
        return depth > 4 ? [] : [example(one.items, depth + 1)];
    }
    if (type === 'object' || one.properties) {
        const entries = depth > 4 ? [] : Object.entries(one.properties ?? {});
        return Object.fromEntries(entries.map(([name, value]) => [name, example(value, depth + 1)]));
    }
    return { string: 'text', integer: one.minimum ?? 0, number: 0, boolean: false }[type] ?? null;
}

/** What a body must hold, for the form: the required members alone, or all when none is. */
function skeleton(schema) {
    const one = resolve(schema);
    const names = one.required ?? Object.keys(one.properties ?? {});
    return Object.fromEntries(names.map((name) => [name, example(one.properties?.[name])]));
}

function parameterTable(parameters) {
    const rows = parameters.map((one) => make('tr', {}, make('td', { className: 'path' }, one.name), make('td', {}, one.in),
        make('td', {}, one.schema?.type ?? ''), make('td', {}, one.required ? 'required' : 'optional')));
    const head = make('tr', {}, ...['parameter', 'in', 'type', 'needed'].map((text) => make('th', {}, text)));
    return make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows));
}

function schemaView(title, content) {
    return Object.entries(content ?? {}).map(([type, { schema }]) => {
        const name = schema?.$ref?.split('/').pop() ?? '';
        const body = type === 'application/json' ? JSON.stringify(example(schema), null, 2) : '';
        return make('details', {}, make('summary', {}, `${title} ${type} ${name}`), make('pre', { tabIndex: 0 }, body || type));
    });
}

function responseTable(responses) {
    const rows = Object.entries(responses).map(([status, response]) => make('tr', {},
        make('td', { className: status < '300' ? 'good' : '' }, status),
        make('td', {}, response.description ?? '', ...schemaView('', response.content))));
    return make('table', {}, make('thead', {}, make('tr', {}, make('th', {}, 'status'), make('th', {}, 'answer'))), make('tbody', {}, ...rows));
}

/** The path with what was typed; a last parameter that takes a whole rest keeps its slashes. */
function address(path, form, parameters) {
    const query = new URLSearchParams();
    for (const one of parameters) {
        const text = form.elements[`${one.in}:${one.name}`].value;
        if (one.in === 'path') {
            path = path.replace(`{${one.name}}`, one['x-rest'] ? encodeURI(text) : encodeURIComponent(text));
        } else if (text !== '') {
            query.set(one.name, text);
        }
    }
    return query.size > 0 ? `${path}?${query}` : path;
}

function requestOf(method, form, signal) {
    const headers = {};
    const key = document.getElementById('key').value;
    const body = form.elements.body?.value;
    if (key) {
        headers.authorization = `Bearer ${key}`;
    }
    if (body) {
        headers['content-type'] = 'application/json';
    }
    return { method: method.toUpperCase(), headers, body: body || undefined, signal };
}

const SHOWN_MAX = 200000;

/** Shows an answer as it comes: a stream grows while it lasts. */
async function show(response, status, output) {
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    let text = '';
    status.textContent = `${response.status} ${response.statusText}`;
    status.className = response.ok ? 'good' : 'bad';
    while (reader) {
        const { done, value } = await reader.read();
        if (done) {
            break;
        }
        text += decoder.decode(value, { stream: true });
        output.textContent = text.slice(-SHOWN_MAX);
        output.scrollTop = output.scrollHeight;
    }
    if (/json/.test(response.headers.get('content-type') ?? '')) {
        try {
            output.textContent = JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN_MAX);
        } catch {
            // shown as it came
        }
    }
}

function tryForm(path, method, operation) {
    const parameters = operation.parameters ?? [];
    const fields = parameters.map((one) => make('label', {}, `${one.name} (${one.in}) `, make('input', { name: `${one.in}:${one.name}`, required: one.required })));
    const takesBody = operation.requestBody || ['post', 'put', 'patch'].includes(method);
    const schema = operation.requestBody?.content?.['application/json']?.schema;
    const send = make('button', { type: 'submit' }, 'Send');
    const stop = make('button', { type: 'button', disabled: true }, 'Stop');
    const status = make('output', {});
    const output = make('pre', { hidden: true, tabIndex: 0, 'aria-label': 'answer' });
    const body = takesBody ? [make('label', {}, 'body', make('textarea', { name: 'body', spellcheck: false, value: schema ? JSON.stringify(skeleton(schema), null, 2) : '' }))] : [];
    const form = make('form', { className: 'try' }, ...fields, ...body, make('p', {}, send, ' ', stop, ' ', status), output);

    form.addEventListener('submit', async (event) => {
        const abort = new AbortController();
        event.preventDefault();
        stop.onclick = () => abort.abort();
        [send.disabled, stop.disabled, output.hidden] = [true, false, false];
        [status.textContent, output.textContent] = ['sent …', ''];
        try {
            await show(await fetch(address(path, form, parameters), requestOf(method, form, abort.signal)), status, output);
        } catch (error) {
            status.textContent = abort.signal.aborted ? 'stopped' : String(error);
            status.className = 'bad';
        }
        [send.disabled, stop.disabled] = [false, true];
    });
    return form;
}

function inside(path, method, operation) {
    const parts = [];
    if (operation.parameters?.length > 0) {
        parts.push(parameterTable(operation.parameters));
    }
    parts.push(...schemaView('body:', operation.requestBody?.content), responseTable(operation.responses), make('h3', {}, 'Try it'), tryForm(path, method, operation));
    return make('div', { className: 'inside' }, ...parts);
}

/** One route; what is inside is made when it is first opened. */
function routeView(path, method, operation) {
    const summary = make('summary', {}, make('span', { className: 'method' }, method.toUpperCase()), make('span', { className: 'path' }, path),
        make('span', { className: 'say' }, operation.summary ?? ''));
    const view = make('details', { className: 'route', id: operation.operationId }, summary);
    view.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
    view.addEventListener('toggle', () => view.childElementCount === 1 && view.append(inside(path, method, operation)));
    return view;
}

function showDoors(description) {
    const doors = new Map();
    for (const [path, item] of Object.entries(description.paths)) {
        for (const [method, operation] of Object.entries(item)) {
            const door = operation.tags?.[0] ?? 'other';
            doors.set(door, [...(doors.get(door) ?? []), routeView(path, method, operation)]);
        }
    }
    document.getElementById('version').textContent = description.info.version;
    document.getElementById('doors').replaceChildren(...[...doors].map(([door, views]) => make('section', {}, make('h2', {}, door), ...views)));
}

function filter() {
    const words = document.getElementById('search').value.toLowerCase().split(/\s+/);
    for (const view of document.querySelectorAll('details.route')) {
        view.hidden = !words.every((word) => view.dataset.words.includes(word));
    }
    for (const section of document.querySelectorAll('section')) {
        section.hidden = !section.querySelector('details.route:not([hidden])');
    }
}

/** The key that one has signed in with on the dashboard holds here too. */
function takeKey() {
    try {
        document.getElementById('key').value = sessionStorage.getItem('berth.key') ?? '';
    } catch {
        // no storage is allowed here: the key is typed
    }
}

async function begin() {
    const main = document.getElementById('doors');
    takeKey();
    try {
        const description = await (await fetch('/openapi.json')).json();
        schemas = description.components.schemas;
        showDoors(description);
        document.getElementById(location.hash.slice(1))?.setAttribute('open', '');
    } catch (error) {
        main.textContent = `The description could not be read: ${error}`;
    }
    document.getElementById('search').addEventListener('input', filter);
    document.getElementById('bar').addEventListener('submit', (event) => event.preventDefault());
}

begin();
