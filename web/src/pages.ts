// SPDX-License-Identifier: Apache-2.0
// Every page is one row: its path, its group in the navigation, its icon, its component (loaded when it is opened). Navigation and
// router are made of it; a page without a row does not exist, so that there are no dead links.
import {
    Calendar, ChatDotRound, Collection, Connection, Cpu, DataAnalysis, DataLine, Document, Files, Odometer, Operation, Setting, Tickets,
} from '@element-plus/icons-vue';
import type { Component } from 'vue';
import { createRouter, createWebHashHistory, type RouteRecordRaw } from 'vue-router';

export interface Page {
    name: string; // of the route, of the words nav.NAME, of the folder pages/NAME
    group: 'groupServe' | 'groupWork' | 'groupPlan' | 'groupWatch' | 'groupAdmin';
    icon: Component;
    load: () => Promise<Component>;
    children?: RouteRecordRaw[]; // pages of one thing: not in the navigation
}

export const pages: readonly Page[] = [
    { name: 'overview', group: 'groupServe', icon: Odometer, load: () => import('@/pages/overview/OverviewPage.vue') },
    { name: 'models', group: 'groupServe', icon: Cpu, load: () => import('@/pages/models/ModelsPage.vue'), children: [
        { path: '/models/:id', name: 'model', component: () => import('@/pages/models/ModelPage.vue'), props: true },
    ] },
    { name: 'scheduler', group: 'groupServe', icon: Calendar, load: () => import('@/pages/scheduler/SchedulerPage.vue') },
    { name: 'instances', group: 'groupServe', icon: Connection, load: () => import('@/pages/instances/InstancesPage.vue') },
    { name: 'playground', group: 'groupWork', icon: ChatDotRound, load: () => import('@/pages/playground/PlaygroundPage.vue') },
    { name: 'tasks', group: 'groupWork', icon: Tickets, load: () => import('@/pages/tasks/TasksPage.vue'), children: [
        { path: '/tasks/:id', name: 'task', component: () => import('@/pages/tasks/TaskPage.vue'), props: true },
    ] },
    { name: 'batches', group: 'groupWork', icon: Files, load: () => import('@/pages/batches/BatchesPage.vue') },
    { name: 'planner', group: 'groupPlan', icon: DataAnalysis, load: () => import('@/pages/planner/PlannerPage.vue'), children: [
        { path: '/planner/results/:id', name: 'evaluation', component: () => import('@/pages/planner/EvaluationPage.vue'), props: true },
        { path: '/planner/compare', name: 'compare', component: () => import('@/pages/planner/ComparePage.vue') },
        { path: '/planner/topologies', name: 'topologies', component: () => import('@/pages/planner/TopologiesPage.vue') },
    ] },
    { name: 'monitoring', group: 'groupWatch', icon: DataLine, load: () => import('@/pages/monitoring/MonitoringPage.vue') },
    { name: 'logs', group: 'groupWatch', icon: Document, load: () => import('@/pages/logs/LogsPage.vue') },
    { name: 'configuration', group: 'groupAdmin', icon: Setting, load: () => import('@/pages/configuration/ConfigurationPage.vue') },
    { name: 'api', group: 'groupAdmin', icon: Collection, load: () => import('@/pages/api/ApiPage.vue') },
    { name: 'system', group: 'groupAdmin', icon: Operation, load: () => import('@/pages/system/SystemPage.vue') },
];

export const router = createRouter({
    history: createWebHashHistory(),
    routes: [
        { path: '/', redirect: '/overview' },
        ...pages.flatMap<RouteRecordRaw>(({ name, load, children = [] }) => [{ path: `/${name}`, name, component: load, meta: { page: name } },
            ...children.map((child) => ({ ...child, meta: { page: name } }))]),
        { path: '/:rest(.*)*', name: 'missing', component: () => import('@/pages/MissingPage.vue') },
    ],
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
});
