// SPDX-License-Identifier: Apache-2.0
// Experiments side by side: rows of facts and of figures, where the questions differ and which answer is the best of its row.
import type { Schemas } from '@/api/client';
import { t } from '@/i18n';
import { figures, planName, textOf } from './plans';
import { factsOf, type Question } from './question';

export type Compared = Schemas['ComparedExperiment'];
export interface FactRow {
    name: string;
    texts: string[];
    differs: boolean;
}
export interface FigureRow {
    name: string;
    texts: string[];
    best: boolean[];
}

function questionOf(experiment: Compared): Question {
    const parts = Object.entries({ model: experiment.model_config, hardware: experiment.hardware_config, inference: experiment.inference_config });
    return Object.fromEntries(parts.filter(([, part]) => part !== null));
}

export function factRows(experiments: readonly Compared[]): FactRow[] {
    const facts = experiments.map((experiment) => new Map(factsOf(questionOf(experiment)).map(({ name, text }) => [name, text])));
    const names = [...new Set(facts.flatMap((one) => [...one.keys()]))];
    return names.map((name) => {
        const texts = facts.map((one) => one.get(name) ?? '–');
        return { name, texts, differs: new Set(texts).size > 1 };
    });
}

/** The best of a row is marked when the row's answers differ. */
export function figureRows(experiments: readonly Compared[]): FigureRow[] {
    return figures.flatMap((figure) => {
        const values = experiments.map(({ best_plan: plan }) => (plan ? figure.value(plan) ?? null : null));
        const known = values.filter((value) => value !== null);
        if (known.length === 0) {
            return [];
        }
        const top = figure.best === 'low' ? Math.min(...known) : Math.max(...known);
        const marks = figure.best !== undefined && known.length > 1 && new Set(known).size > 1;
        return [{ name: figure.name, texts: experiments.map(({ best_plan: plan }) => (plan ? textOf(figure, plan) : '–')), best: values.map((value) => marks && value === top) }];
    });
}

/** For a spreadsheet: a row an experiment, bare numbers. */
export function rowsOf(experiments: readonly Compared[]): { rows: Record<string, unknown>[]; columns: string[] } {
    const rows = experiments.map((experiment) => {
        const plan = experiment.best_plan;
        return {
            experiment: experiment.name,
            ...Object.fromEntries(factsOf(questionOf(experiment)).map(({ name, text }) => [`question: ${t(`planner.result.fact.${name}`)}`, text])),
            plan: plan ? planName(plan) : '',
            ...Object.fromEntries(figures.map(({ name, value }) => [name, plan ? value(plan) ?? '' : ''])),
        };
    });
    return { rows, columns: [...new Set(rows.flatMap((row) => Object.keys(row)))] };
}
