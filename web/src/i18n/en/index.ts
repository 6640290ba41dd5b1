// SPDX-License-Identifier: Apache-2.0
// All words, by page; `common` stands at the top level.
import common from './common';
import overview from './overview';
import models from './models';
import scheduler from './scheduler';
import tasks from './tasks';
import batches from './batches';
import playground from './playground';
import planner from './planner';
import instances from './instances';
import monitoring from './monitoring';
import logs from './logs';
import configuration from './configuration';
import api from './api';
import system from './system';
import cards from './cards';
import events from './events';

export default {
    ...common,
    overview,
    models,
    scheduler,
    tasks,
    batches,
    playground,
    planner,
    instances,
    monitoring,
    logs,
    configuration,
    api,
    system,
    cards,
    events,
};
